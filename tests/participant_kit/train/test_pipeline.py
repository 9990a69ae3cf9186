"""Batches are the same whether samples are held in memory or decoded again, and whichever sample is corrupt."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from competition.data.shards import Sample
from competition.progress import Progress
from competition.rules.recipes import ClipRecipe
from participant_kit.train.pipeline import Samples, training_batches
from participant_kit.train.shards import ShardIndex, open_shards
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample


def quiet(_: Progress) -> None:
    """Say nothing."""


def index_of(folder: Path) -> ShardIndex:
    return open_shards([folder], quiet)


def all_batches(
    index: ShardIndex, recipe: ClipRecipe, memory: int = 2**30, workers: int = 1, first: int = 0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    samples = Samples(index, recipe, memory)
    samples.decode_ahead(workers, quiet)
    assert samples.all_held == (memory > 2**20)
    return [
        (batch.images, batch.texts) for batch in training_batches(samples, index.identities, recipe, 0, first, workers)
    ]


def same(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_memory_and_workers_change_nothing(shards: MakeShards, tolerance: float) -> None:
    samples = [make_sample(number) for number in range(600)]
    if tolerance:
        for broken in (0, 17, 18, 599):
            samples[broken] = Sample(samples[broken].key, {**samples[broken].members, "jpg": b"broken"})
    index, recipe = index_of(shards(samples)), make_recipe(corrupt_tolerance=tolerance)
    expected = all_batches(index, recipe)
    assert len(expected) == recipe.steps
    assert same(expected, all_batches(index, recipe, memory=1000))
    assert same(expected, all_batches(index, recipe, memory=0, workers=3))
    assert same(expected[5:], all_batches(index, recipe, workers=2, first=5))


def test_copies_of_a_uid_are_known_by_uid_and_not_by_key(shards: MakeShards) -> None:
    same_uid = [make_sample(number, uid="f" * 32) for number in range(3)]
    bare = [Sample(f"{number:09d}", {"txt": b"a"}) for number in (7, 8)]
    index = index_of(shards([*same_uid, make_sample(5), *bare]))
    assert index.identities.tolist() == [0, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_images_of_extreme_shapes_are_trained_on(shards: MakeShards, size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("L", size, 128).save(stream, "PNG")
    samples = [Sample(f"{n}", {"png": stream.getvalue(), "txt": f"grey {n}".encode()}) for n in range(8)]
    (images, _), *_ = all_batches(index_of(shards(samples)), make_recipe(steps=1))
    assert np.abs(images.numpy().astype(int) - 128).max() <= 1


def test_too_large_an_image_is_corrupt(shards: MakeShards) -> None:
    stream = io.BytesIO()
    Image.new("1", (9000, 9000)).save(stream, "PNG")
    samples = [make_sample(n) for n in range(9)] + [Sample("big", {"png": stream.getvalue(), "txt": b"big"})]
    index = index_of(shards(samples))
    kept = Samples(index, make_recipe(corrupt_tolerance=0.5))
    kept.decode_ahead(1, quiet)
    assert kept.corrupt == 1
    assert index.describe(9).startswith("sample 'big' of shard ")
