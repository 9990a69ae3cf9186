"""``python -m scorer.cli``, the same as ``datacup-scorer``."""

from scorer.cli import main

main()
