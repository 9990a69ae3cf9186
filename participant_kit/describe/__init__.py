"""What a dataset is like: numbers, plots and pictures of a pool, a subset, a folder of shards or a labelled dataset."""
