"""Evaluations of scored entries under another suite: beside the old ones, and published all at once."""
