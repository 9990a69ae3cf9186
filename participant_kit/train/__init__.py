"""Training that is identical for everybody: a recipe, a seed and data in, a model and its report out."""
