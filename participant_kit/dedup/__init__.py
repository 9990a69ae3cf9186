"""Finding images of which a pool has several, or which an evaluation set has too, and keeping one of each.

Every way finds pairs; groups are what pairs connect (union-find); a keep rule decides which member stays.
"""
