"""A real Hub for all hostile entries, the scorer's processes, and the ground on which they must leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from competition.errors import EngineError
from competition.records.manifest import SubmissionManifest
from competition.rules import Competition
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from scorer import messages
from scorer.children import Bounds, Children, Chore
from scorer.likenesses import LIKENESSES
from scorer.mirror import Mirror, Source
from scorer.namespaces import Access
from scorer.overlaps import OVERLAPS
from scorer.verify import FetchRequest, Registration, VerifyRequest
from tests.competition.verification.entries import NONCE, write_pool
from tests.hostile import chores
from tests.scorer.conftest import Gate, RunningHub, plain_client
from tests.serving import serve

__all__ = ["plain_client"]

MEMORY = 200_000_000
"""By how much a process may grow, libraries that it imports late included."""
SECONDS = 60.0
"""Without a message, after which it counts as hung."""


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    root = tmp_path_factory.mktemp("hub")
    gate = Gate(create_hub(HubSettings(root=root)))
    token = create_token(root, "alice", Role.WRITE, None)
    with serve(gate) as url:
        yield RunningHub(url, token, gate)


@pytest.fixture(scope="session")
def children() -> Children:
    children = Children()
    children.warm_up()
    return children


@dataclass
class Ground:
    """The folders around a scorer: ``run`` does a chore there and sees what it left."""

    root: Path
    children: Children
    competition: Competition
    track: str
    scale: str
    grown: list[int] = field(default_factory=list)
    overlaps: str | None = None

    def prepare(self) -> Ground:
        for name in ("home", "tmp", "work", "pools", "mirror"):
            (self.root / name).mkdir(parents=True)
        (self.root / "home" / "secret").write_text("the scorer's own")
        return self

    @property
    def mirror(self) -> Path:
        """The only folder in which anything may appear."""
        return self.root / "mirror"

    def intake(self, source: Source) -> SubmissionManifest:
        """Fetch and verify as the scorer does (raises ``RejectionError``)."""
        registration = Registration(
            submission_id="sub-1", nonce=NONCE, competition=self.competition.id, track=self.track, scale=self.scale
        )
        fetching = FetchRequest(
            source=source,
            registration=registration,
            competition=self.competition,
            mirror=self.mirror,
            hub_token=None,
        )
        said = self.run(chores.fetch, fetching.model_dump_json())
        manifest = next(message.manifest for message in said if isinstance(message, messages.Mirrored))
        verifying = VerifyRequest(
            manifest=manifest,
            registration=registration,
            competition=self.competition,
            mirror=self.mirror,
            pools=self.root / "pools",
            overlaps=self.overlaps,
        )
        self.run(chores.verify, verifying.model_dump_json())
        return manifest

    def run(self, chore: Chore, request: str) -> list[messages.Message]:
        """Do a chore in a process of its own within the scorer's bounds, and hear what it says.

        It may write to all of the ground: that nothing appears there is the code's doing, not only the sandbox's.
        """
        heard: list[messages.Message] = []
        limit = self.competition.limits.file_bytes + 16 * 2**20
        bounds = Bounds(start=240, step=SECONDS, memory_bytes=4 * 2**30, file_bytes=limit)
        watched = chores.Watched(ground=self.root, request=request).model_dump_json()
        try:
            access = Access(network=True, readable=(self.root.parent,), writable=(self.root,))
            self.children.run(chore, watched, bounds, access=access, on_message=heard.append, guard=lambda: None)
        except EngineError as error:
            pytest.fail(f"the scorer is to blame, not the entry: {error}")
        finally:
            told = [message.check for message in heard if isinstance(message, messages.Checking)]
            self.grown += [int(check.removeprefix(chores.GROWN)) for check in told if check.startswith(chores.GROWN)]
        return heard

    def traces(self) -> dict[str, tuple[int, int]]:
        """Every path outside the mirror, with size and time of change."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if self.mirror not in {path, *path.parents}:
                state = path.lstat()
                found[str(path.relative_to(self.root))] = (state.st_size, state.st_mtime_ns)
        return found

    def check_mirror(self) -> None:
        """Nothing is left on its way, and every file is what its name says."""
        assert list((self.mirror / "scratch").glob("*")) == []
        assert {path.name for path in self.mirror.iterdir()} <= {
            *("objects", "entries", "scratch", "pool-index", OVERLAPS, LIKENESSES)
        }
        for path in (self.mirror / "objects").rglob("*"):
            if path.is_file():
                assert not path.is_symlink()
                assert Mirror(self.mirror).verified(path.name) == path


@pytest.fixture
def ground_of(tmp_path: Path, children: Children):
    """Makes the ground for entries of a competition."""

    def make(competition: Competition, track: str, scale: str) -> Ground:
        ground = Ground(tmp_path / "ground", children, competition, track, scale).prepare()
        write_pool(ground.root / "pools")
        return ground

    return make
