"""What can be said of a dataset from features alone, before any training: a module a metric, pure functions of arrays.

Rows are read in blocks and computed in float64; nothing of size rows x rows is ever in memory. What GenBench computes
in another way is available as a variant of that name, for comparison with its figures.
"""
