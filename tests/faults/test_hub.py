"""A Hub that misbehaves, and entries that change or vanish on it after they were submitted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from competition.errors import RejectionReason
from competition.records.lifecycle import Processing
from leaderboard.settings import Settings
from tests.faults.proxy import Exchange, Reply
from tests.faults.scene import Scene


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An honest answer may be slow, too, on a busy machine: it is given more tries than a spoilt one needs."""
    return settings.model_copy(update={"max_attempts": 8})


def refuse(exchange: Exchange) -> None:
    """Too many requests; come back at once."""
    exchange.answer(Reply(429, (("Retry-After", "0"),)))


def fail(exchange: Exchange) -> None:
    exchange.answer(Reply(500))


def trickle(exchange: Exchange) -> None:
    """So slow that it would take hours, but never silent."""
    exchange.answer(exchange.forward(), piece=64, pause=0.25)


def truncate(exchange: Exchange) -> None:
    """Half of the bytes, and the end of the connection."""
    reply = exchange.forward()
    exchange.answer(reply.with_body(reply.body[: len(reply.body) // 2]))


def falsify(exchange: Exchange) -> None:
    """As many bytes as announced, one of them another."""
    reply = exchange.forward()
    middle = len(reply.body) // 2
    changed = bytes([reply.body[middle] ^ 1])
    exchange.answer(reply.with_body(reply.body[:middle] + changed + reply.body[middle + 1 :]))


def of(submission: str, name: str) -> Callable[[str], bool]:
    """The download of a file of a submission."""
    return lambda line: line.startswith("GET") and line.endswith(f"/{submission}/{name}")


def test_whatever_the_hub_answers_once_the_entry_is_scored(scene: Scene) -> None:
    spoilt = {
        # Every model is another one: what the mirror holds is not fetched again.
        (act, name): scene.hub_proxy.on(of(scene.enter(weights=seed), name), act)
        for seed, (act, name) in enumerate(
            (
                (refuse, "model.safetensors"),
                (fail, "model.safetensors"),
                (trickle, "model.safetensors"),
                (truncate, "model.safetensors"),
                (falsify, "model.safetensors"),  # in large-file storage
                (falsify, "README.md"),  # in the commit itself
                (falsify, "submission.json"),
            )
        )
    }
    scene.drain(intake_seconds=8)
    assert {f"{act.__name__} {name}": fault.happened for (act, name), fault in spoilt.items()} == {
        f"{act.__name__} {name}": 1 for act, name in spoilt
    }
    scene.settled()


def test_a_hub_that_stays_broken_ends_as_our_failure_and_not_as_the_entrys(scene: Scene) -> None:
    submission = scene.enter()
    scene.hub_proxy.on(of(submission, "model.safetensors"), falsify, times=1000)
    scene.drain()
    scene.settled(Processing.FAILED)
    view = scene.participant.submission(submission)
    assert view.failure is not None
    assert "model.safetensors" in view.failure
    assert view.rejection is None


def delete(scene: Scene, repo: str) -> None:
    scene.hub.api().delete_repo(repo)


def hide(scene: Scene, repo: str) -> None:
    scene.hub.api().update_repo_settings(repo, private=True)


def push_by_force(scene: Scene, repo: str) -> None:
    scene.hub.api().super_squash_history(repo)


def test_what_is_mirrored_is_scored_though_its_repository_is_gone_and_the_rest_is_told_so(scene: Scene) -> None:
    changes = {"alice/deleted": delete, "alice/hidden": hide, "alice/squashed": push_by_force}
    kept = [scene.enter(repo) for repo in changes]
    for _ in kept:
        scene.worker("--once", "--kinds", "intake").wait()
    assert [scene.state(submission) for submission in kept] == [Processing.QUEUED] * len(kept)
    lost = [scene.enter(repo) for repo in changes]
    for repo, change in changes.items():
        change(scene, repo)
    scene.drain()
    scene.settled(Processing.SCORED, kept)
    scene.settled(Processing.INVALID, lost)
    for submission in lost:
        rejection = scene.participant.submission(submission).rejection
        assert rejection is not None
        assert rejection.reason is RejectionReason.REPOSITORY_NOT_FOUND
