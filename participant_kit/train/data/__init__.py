"""Training data: sources of samples, the order they are seen in, and batches prepared ahead of the model."""
