"""The published documents of competitions."""
