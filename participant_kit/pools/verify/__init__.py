"""Is a pool sound? Every file is looked at, and metadata, features and shards are held against each other."""

from participant_kit.pools.verify.run import VerifyReport, verify_pool

__all__ = ["VerifyReport", "verify_pool"]
