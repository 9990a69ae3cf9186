"""Batches are the same whether samples are held in memory or decoded again, and whichever sample is corrupt."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from competition.data.shards import Sample
from competition.errors import DataFormatError, TrainingError
from competition.evaluation.images import decode_rgb
from competition.progress import Progress
from competition.rules.recipes import ClipRecipe
from participant_kit.train.clip import ClipPreparation
from participant_kit.train.data.decode import decode_pixels
from participant_kit.train.data.loader import Batch, Share, load_batches
from participant_kit.train.data.order import batches
from participant_kit.train.data.samples import Samples
from participant_kit.train.data.shards import open_shards
from participant_kit.train.data.source import TrainingSet
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample


def quiet(_: Progress) -> None:
    """Say nothing."""


def data_of(folder: Path) -> TrainingSet:
    return TrainingSet([open_shards(folder, 1, quiet)])


def all_batches(
    data: TrainingSet,
    recipe: ClipRecipe,
    memory: int = 2**30,
    workers: int = 0,
    first: int = 0,
    share: Share = Share(0, 1),  # noqa: B008 - it is frozen
) -> list[Batch]:
    preparation = ClipPreparation(recipe)
    samples = Samples(data, preparation.decode, memory)
    samples.decode_ahead(max(1, workers), quiet)
    assert samples.all_held == (memory > 2**20)
    batch = recipe.global_batch
    order = enumerate(islice(batches(data, batch, 0, apart=True), first, recipe.steps), first)
    part = share.of(batch)
    return list(load_batches(samples, preparation, order, seed=0, share=part, batch=batch, workers=workers))


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        p.step == q.step and all(torch.equal(x, y) for x, y in zip(p.inputs, q.inputs, strict=True))
        for p, q in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("broken", [(), (0, 17, 18, 599)])
def test_memory_and_workers_change_nothing(shards: MakeShards, broken: tuple[int, ...]) -> None:
    samples = [make_sample(number) for number in range(600)]
    for number in broken:
        samples[number] = Sample(samples[number].key, {**samples[number].members, "jpg": b"broken"})
    data, recipe = data_of(shards(samples)), make_recipe(steps=80)
    expected = all_batches(data, recipe)
    assert len(expected) == recipe.steps
    assert {index for batch in expected for index, _ in batch.corrupt} == set(broken)
    assert same(expected, all_batches(data, recipe, memory=1000))
    assert same(expected, all_batches(data, recipe, memory=0, workers=2))
    assert same(expected[5:], all_batches(data, recipe, workers=2, first=5))


def test_processes_prepare_their_share_of_every_batch(shards: MakeShards) -> None:
    data, recipe = data_of(shards()), make_recipe()
    whole = all_batches(data, recipe)
    halves = [all_batches(data, recipe, share=Share(rank, 2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *halves, strict=True):
        for inputs in zip(batch.inputs, first.inputs, second.inputs, strict=True):
            assert torch.equal(inputs[0], torch.cat(inputs[1:]))


def test_a_batch_that_does_not_divide_is_refused_with_the_numbers_that_fit() -> None:
    with pytest.raises(TrainingError, match="does not divide among 3 processes") as caught:
        Share(0, 3).of(8)
    assert caught.value.hint.endswith("1, 2, 4, 8.")


def test_copies_of_a_uid_are_known_by_uid_and_not_by_key(shards: MakeShards) -> None:
    same_uid = [make_sample(number, uid="f" * 31 + "0") for number in range(3)]
    bare = [Sample(f"{number:09d}", {"txt": b"a"}) for number in (7, 8)]
    identities = data_of(shards([*same_uid, make_sample(5), *bare])).identities
    assert (
        np.unique(identities, return_inverse=True)[1]
        .tolist()
        .count(int(np.unique(identities, return_inverse=True)[1][0]))
        == 3
    )
    assert len(set(identities.tolist())) == 4


def test_class_members_are_labels(shards: MakeShards) -> None:
    labelled = [Sample(f"{n}", {**make_sample(n).members, "cls": f"{n % 3}\n".encode()}) for n in range(4)]
    data = data_of(shards([*labelled, make_sample(9)]))
    assert [data.read(index).label for index in range(5)] == [0, 1, 2, 0, None]
    wrong = Sample("w", {**make_sample(1).members, "cls": b"seven"})
    with pytest.raises(DataFormatError, match="class b'seven', which is not a whole number"):
        data_of(shards([wrong], "wrong"))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_images_of_extreme_shapes_are_trained_on(shards: MakeShards, size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("L", size, 128).save(stream, "PNG")
    samples = [Sample(f"{n}", {"png": stream.getvalue(), "txt": f"grey {n}".encode()}) for n in range(8)]
    batch, *_ = all_batches(data_of(shards(samples)), make_recipe(steps=1))
    assert np.abs(batch.inputs[0].numpy().astype(int) - 128).max() <= 1


def test_too_large_an_image_is_corrupt(shards: MakeShards) -> None:
    stream = io.BytesIO()
    Image.new("1", (9000, 9000)).save(stream, "PNG")
    samples = [make_sample(n) for n in range(9)] + [Sample("big", {"png": stream.getvalue(), "txt": b"big"})]
    data = data_of(shards(samples))
    _, met = Samples(data, ClipPreparation(make_recipe()).decode).get(9)
    assert [(index, reason.split(" pixels")[0]) for index, reason in met] == [(9, "the image has 9000 x 9000")]
    assert data.describe(9).startswith("sample 'big' of shard ")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpegs_decode_to_pillows_bits(mode: str, options: dict[str, object]) -> None:
    stream = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).convert(mode).save(stream, "JPEG", **options)
    assert np.array_equal(decode_pixels(stream.getvalue()), np.asarray(decode_rgb(stream.getvalue())))
