"""Formats of a data competition (uid arrays, pool metadata, tar shards) and the one way of moving through them."""
