"""Building labelled datasets of a requested size from a pool: the ways of SELECT, and GenBench's retrieval."""
