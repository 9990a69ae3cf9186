"""What the server imports from which processes are forked (``scorer.children``).

Imports, and what costs as much and needs no torch: a computation with that would start OpenMP's threads, and those do
not survive a fork.
"""

import atexit
import gc

from scorer import sandbox

with sandbox.ending_with_parent():
    import competition.catalog.digits.testsets
    import competition.evaluation.encoders
    import competition.evaluation.pool_copies
    import competition.evaluation.run
    import competition.evaluation.set_images
    import competition.verification.model
    import competition.verification.predictions
    import scorer.evaluation
    import scorer.overlaps
    import scorer.pool_index
    import scorer.verify

    competition.evaluation.encoders.tokenizer(77)
    # What is here stays for ever: a process that looked for garbage in it would copy all of its pages.
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries complain about what is left at the end

__all__ = ["competition", "scorer"]
