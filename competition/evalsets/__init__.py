"""Evaluation sets on disk: which there are, getting them, checking them, and bringing others into the one layout."""
