"""The corpus of hostile entries, through the whole service: each ends ``invalid`` in the database, for its reason."""

from __future__ import annotations

import pytest

from competition.records.lifecycle import Processing
from tests.faults.scene import Scene
from tests.hostile.test_hostile import OF_A_MODEL

pytestmark = pytest.mark.hostile


@pytest.mark.timeout(600)
def test_every_hostile_entry_ends_invalid_and_a_sound_one_between_them_is_scored(scene: Scene) -> None:
    half = len(OF_A_MODEL) // 2
    cases = list(OF_A_MODEL.items())
    entered = {
        name: scene.enter(f"alice/hostile-{number}", spoil=case.make)
        for number, (name, case) in enumerate(cases[:half])
    }
    sound = scene.enter()
    entered |= {
        name: scene.enter(f"alice/hostile-{half + number}", spoil=case.make)
        for number, (name, case) in enumerate(cases[half:])
    }
    scene.drain()
    views = {name: scene.participant.submission(submission) for name, submission in entered.items()}
    ends = {name: view.rejection.reason if view.rejection else view.processing for name, view in views.items()}
    assert ends == {name: case.reason for name, case in cases}
    scene.settled(Processing.INVALID, list(entered.values()))
    scene.settled(Processing.SCORED, [sound])
