"""Pools: building, downloading and checking the samples that entries choose from."""
