"""What the server imports from which processes are forked (``scorer.children``).

Imports only: a computation with torch would start OpenMP's threads, and those do not survive a fork.
"""

from scorer import sandbox

with sandbox.ending_with_parent():
    import competition.catalog.digits.testsets
    import competition.evaluation.pool_copies
    import competition.evaluation.run
    import competition.evaluation.set_images
    import competition.verification.model
    import competition.verification.predictions
    import scorer.evaluation
    import scorer.overlaps
    import scorer.verify

__all__ = ["competition", "scorer"]
