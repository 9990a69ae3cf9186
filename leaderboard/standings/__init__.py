"""Who stands where, and what the data cannot tell apart."""
