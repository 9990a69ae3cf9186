"""``python -m leaderboard.cli``, the same as ``datacup-leaderboard``."""

from leaderboard.cli import main

main()
