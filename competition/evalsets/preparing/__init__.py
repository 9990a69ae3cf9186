"""Bringing evaluation sets that come from elsewhere into the one layout."""
