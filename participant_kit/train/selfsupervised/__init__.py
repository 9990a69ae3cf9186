"""Self-supervised pretraining: one module a method, on lightly's losses and heads."""

from participant_kit.train.selfsupervised.ingredients import selfsupervised_ingredients

__all__ = ["selfsupervised_ingredients"]
