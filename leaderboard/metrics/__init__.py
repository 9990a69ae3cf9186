"""What the queue and the entries look like from outside, in the format that Prometheus reads."""
