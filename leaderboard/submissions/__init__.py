"""Entries: registering, revising, withdrawing, showing them; and the one table of their transitions."""
