"""Small fastText model files, written field by field, for reading back by fastText and by the native module."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

HIERARCHICAL_SOFTMAX, SOFTMAX = 1, 3
CENTROIDS = 256


@dataclass(frozen=True)
class ModelFile:
    """What a model is made of; everything else comes from the seed."""

    words: tuple[str, ...] = ("</s>", "the", "und", "кот", "of")
    labels: tuple[tuple[str, int], ...] = (("__label__en", 50), ("__label__de", 30), ("__label__ru", 30))
    buckets: int = 997
    n_grams: tuple[int, int] = (2, 4)
    kept: int | None = None
    quantized: bool = False
    with_norms: bool = True
    dimensions: int = 16
    loss: int = HIERARCHICAL_SOFTMAX
    scale: float = 1.0
    seed: int = 0

    def content(self) -> bytes:
        """The file's bytes."""
        random = np.random.default_rng(self.seed)
        header = struct.pack("<2i", 793712314, 12)
        arguments = struct.pack(
            "<12id", self.dimensions, 5, 5, 1, 5, 1, self.loss, 3, self.buckets, *self.n_grams, 100, 1e-4
        )
        return header + arguments + self._dictionary(random) + self._input(random) + self._output(random)

    def _dictionary(self, random: np.random.Generator) -> bytes:
        counts = (len(self.words) + len(self.labels), len(self.words), len(self.labels))
        parts = [struct.pack("<3i2q", *counts, 1000, -1 if self.kept is None else self.kept)]
        parts += [word.encode() + struct.pack("<xqb", 10, 0) for word in self.words]
        parts += [label.encode() + struct.pack("<xqb", count, 1) for label, count in self.labels]
        chosen = random.permutation(self.buckets)[: self.kept or 0]
        parts += [struct.pack("<2i", bucket, row) for row, bucket in enumerate(chosen)]
        return b"".join(parts)

    def _input(self, random: np.random.Generator) -> bytes:
        rows = len(self.words) + (self.buckets if self.kept is None else self.kept)
        if not self.quantized:
            return struct.pack("<?2q", False, rows, self.dimensions) + self._floats(random, rows * self.dimensions)
        parts = (self.dimensions + 1) // 2
        codes = random.integers(0, CENTROIDS, rows * parts, dtype=np.uint8).tobytes()
        shape = struct.pack("<??2qi", True, self.with_norms, rows, self.dimensions, len(codes))
        centroids = struct.pack("<4i", self.dimensions, parts, 2, 2) + self._floats(random, self.dimensions * CENTROIDS)
        norms = random.integers(0, CENTROIDS, rows, dtype=np.uint8).tobytes() + struct.pack("<4i", 1, 1, 1, 1)
        return shape + codes + centroids + ((norms + self._floats(random, CENTROIDS)) if self.with_norms else b"")

    def _output(self, random: np.random.Generator) -> bytes:
        rows = len(self.labels)
        return struct.pack("<?2q", False, rows, self.dimensions) + self._floats(random, rows * self.dimensions)

    def _floats(self, random: np.random.Generator, count: int) -> bytes:
        return (random.standard_normal(count) * self.scale).astype("<f4").tobytes()
