"""What is multiplied for a model is multiplied where the model is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from competition.evaluation import knn
from competition.evaluation.dataset_metrics import cler
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.entry_images import open_entry_images
from competition.evaluation.nearest import Neighbours, nearest_rows
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.rules import Protocol, Task
from tests.competition.evaluation.entries import clip, spread, write_set, write_shards

OTHER = torch.device("cpu", 0)
"""A device that is told apart from the one that stands for "none was given", and that every machine has."""


class OneModel:
    """Stands for all fixed models."""

    def __init__(self, encoder: ClipEncoder) -> None:
        self._encoder = encoder

    def encoder(self, _name: str) -> ClipEncoder:
        return self._encoder

    def clip(self, _name: str) -> ClipEncoder:
        return self._encoder


@pytest.mark.parametrize(
    ("protocol", "metric"),
    [(Protocol.KNN_SIMCORE, "acc1@20"), (Protocol.KNN_SELECT, "acc1@10"), (Protocol.CLER, "neighbours")],
)
def test_neighbours_are_looked_for_on_the_models_device(
    protocol: Protocol, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set", spread(24))
    (write_set(tmp_path / "train", spread(240)) / "test").rename(tmp_path / "set" / "train")
    write_shards(tmp_path / "entry", spread(60))
    encoder = clip()
    encoder.device = OTHER
    seen = []

    def watched(*arguments: object, device: torch.device | None = None) -> Neighbours:
        seen.append(device)
        return nearest_rows(*arguments, device=device)  # type: ignore[arg-type]

    for module in (knn, cler):
        monkeypatch.setattr(module, "nearest_rows", watched)
    asked = Task.model_validate({"id": "t", "title": "T", "protocol": protocol, "dataset": "set", "metric": metric})
    subject = Subject(encoder, open_entry_images(tmp_path / "entry"), fixed=OneModel(encoder))  # type: ignore[arg-type]
    found = run_protocol(subject, Case(asked, tmp_path / "set", None))
    assert found.metrics[metric] is not None
    assert seen
    assert set(seen) == {OTHER}
