"""Alembic migrations of the leaderboard's database; ``leaderboard.migration`` runs them."""
