"""Measurements, never assertions. Each compares sides in one run; the figures worth keeping go to BENCHMARKS.md."""
