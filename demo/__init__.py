"""``make demo``: a whole competition on loopback, with real HTTP between all parts."""
