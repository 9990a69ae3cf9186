"""The whole chain in one go: pool, dataset, shards, training, evaluation, and the entry when a leaderboard is set."""
