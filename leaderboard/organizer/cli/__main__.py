"""``python -m leaderboard.organizer.cli``, the same as ``datacup-organizer``."""

from leaderboard.organizer.cli import main

main()
