"""Every way of the quickstart builds a dataset of a small digits pool, from a pipeline that stands on its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from competition.catalog.digits.split import Part, load_part
from competition.data.uids import load_subset
from competition.progress import ProgressHook
from competition.rules import find_competition
from participant_kit.labelled.classes import load_classes
from participant_kit.pipelines.load import load_pipeline
from participant_kit.pipelines.run import Terminal, build
from participant_kit.pools.cluster import ClusterOptions, cluster_pool
from participant_kit.pools.digits import reference_set
from participant_kit.quickstart.methods import CENTROIDS, METHODS
from participant_kit.quickstart.run import Plan
from tests.participant_kit.pools.tiny import build_tiny

SAMPLES = 300


@contextmanager
def _silent(_title: str) -> Iterator[ProgressHook]:
    yield lambda _progress: None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool, and the centres of its images beside the pipelines."""
    folder = tmp_path_factory.mktemp("quickstart")
    build_tiny(folder / "pool", SAMPLES)
    (folder / "pipelines").mkdir()
    cluster_pool(folder / "pool" / "metadata", folder / "pipelines" / CENTROIDS, ClusterOptions(10))
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_a_method_builds_a_dataset_of_the_pool(name: str, folder: Path) -> None:
    path = folder / "pipelines" / f"{name}.yaml"
    # A pool of 300 samples has fewer than the real one of each digit, and score models that saw next to nothing.
    path.write_text(METHODS[name].text("../pool").replace("num_clusters: 50", "num_clusters: 5"))
    built = build(load_pipeline(path), folder / name, 1, Terminal(_silent, lambda _note: None))
    uids = load_subset(built.subset)
    assert 0 < len(uids) == built.lineage.result.kept <= SAMPLES
    assert [step.name for step in built.lineage.steps][-1] == built.lineage.result.name
    if name == "no_filter":
        assert len(uids) == SAMPLES
    elif METHODS[name].steps[-1].get("options", {}).get("fraction") == 0.3 and name != "clip_score_diverse":
        assert len(uids) in {90, 91}


def test_pools_of_two_scales_share_no_centres_in_one_folder(tmp_path: Path) -> None:
    competition = find_competition("digits")
    plans = [Plan(competition, competition.tracks[0], scale, tmp_path, "me", 0, 1) for scale in competition.scales]
    assert len({plan.pipelines for plan in plans}) == len(plans) > 1


def test_the_reference_set_is_clean_normalised_and_of_digits_that_no_test_shows(folder: Path) -> None:
    reference = folder / "pool" / reference_set.FOLDER
    labels = [int(line) for line in (reference / reference_set.LABELS).read_text().splitlines()]
    assert labels == load_part(Part.REFERENCE).labels.tolist()
    assert not set(load_part(Part.REFERENCE).ids) & {*load_part(Part.TEST).ids, *load_part(Part.HIDDEN).ids}
    classes = load_classes(reference / reference_set.CLASSES)
    prompts = sum(len(each["prompts"]) for each in json.loads((reference / reference_set.CLASSES).read_text()))
    for name, rows in (
        (reference_set.IMAGES, len(labels)),
        (reference_set.CLASS_TEXTS, len(classes)),
        (reference_set.PROMPT_TEXTS, prompts),
    ):
        features = np.load(reference / name)
        assert features.shape == (rows, 768)
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3)
