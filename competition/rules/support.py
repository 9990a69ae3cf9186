"""What a competition describes and this version of DataCup cannot do yet."""

from __future__ import annotations

from collections.abc import Iterator

from competition.errors import UsageError
from competition.rules.models import Competition, EntryKind, Scale
from competition.rules.predicted_sets import predicted_sets
from competition.rules.protocols import Protocol
from competition.rules.suites import Suite


def unsupported(competition: Competition) -> tuple[str, ...]:
    """Why entries cannot be taken and scored, one sentence each; empty where they can.

    A competition can be read, shown and trained for all the same.
    """
    kinds = {track.entry for track in competition.tracks}
    return (
        *(_of_scales(competition) if EntryKind.MODEL in kinds else ()),
        *_of_tracks(competition),
        *_of_suite(competition.suite),
    )


def _of_tracks(competition: Competition) -> Iterator[str]:
    """Every task of the suite must ask for what the entries of every track are."""
    suite = competition.suite
    predicted = [task.id for task in suite.tasks if task.protocol is Protocol.PREDICTIONS]
    others = [task.id for task in suite.tasks if task.protocol is not Protocol.PREDICTIONS]
    for track in competition.tracks:
        wrong, held = (predicted, "a model") if track.entry is EntryKind.MODEL else (others, "predictions")
        if wrong:
            ids = ", ".join(wrong)
            yield f"Track {track.id}: an entry holds {held}, and these tasks ask for something else: {ids}."
    try:
        predicted_sets(suite)
    except UsageError as error:
        yield error.message


def _of_scales(competition: Competition) -> Iterator[str]:
    kinds = {recipe.id: recipe.kind for recipe in competition.recipes}
    scales: dict[str, list[str]] = {}
    for scale in competition.scales:
        for reason in _of_scale(scale, None if scale.recipe is None else kinds[scale.recipe]):
            scales.setdefault(reason, []).append(scale.id)
    for reason, ids in scales.items():
        yield f"Scale {', '.join(ids)}: {reason}."


def _of_scale(scale: Scale, kind: str | None) -> Iterator[str]:
    if kind is None:
        yield "nothing is trained, and an entry holds a trained model"
    elif kind != "clip":
        yield f"a {kind} model is trained, and an entry's model is a CLIP model"
    if scale.pool is None:
        yield "there is no pool, and an entry is a subset of one"


def _of_suite(suite: Suite) -> Iterator[str]:
    if any(task.needs_images for task in suite.tasks):
        yield f"Suite {suite.reference} has tasks about an entry's images, and the scorer has its model alone."
