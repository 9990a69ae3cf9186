"""Coresets: parts of an open set that stand for a target set. The algorithms alone; strategies are in ``subsets``."""
