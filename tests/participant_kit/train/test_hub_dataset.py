"""Datasets of a Hub, over real HTTP: pinned to a commit, read again without the Hub, refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, constants

from competition.errors import DataFormatError, NotFoundError, ServiceUnavailableError
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.data.source import RawSample, TrainingSet
from tests.participant_kit.train.conftest import make_sample
from tests.serving import serve

# The client's plain LFS upload uses an argument that its own HTTP library deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets.*"),
]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfApi]:
    """A Hub on this machine, whose client and caches are the kit's of this test."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path / "datacup_cache"))
    root = tmp_path / "hub"
    with serve(create_hub(HubSettings(root=root, max_regular_bytes=50_000, multipart_chunk_bytes=200_000))) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield HfApi(endpoint=url, token=create_token(root, "alice", Role.WRITE, None))
    huggingface_hub.close_session()


@pytest.fixture
def upload(hub: HfApi, tmp_path: Path) -> Callable[..., str]:
    """Puts parquet files of some samples into alice's dataset; returns the commit."""

    def send(numbers: range, name: str = "data/train-00000-of-00001.parquet") -> str:
        hub.create_repo("alice/squares", repo_type="dataset", exist_ok=True)
        images = [{"bytes": make_sample(number).members["jpg"], "path": None} for number in numbers]
        pq.write_table(pa.table({"image": images, "label": list(numbers)}), tmp_path / "sent.parquet")
        commit = hub.upload_file(
            path_or_fileobj=tmp_path / "sent.parquet", path_in_repo=name, repo_id="alice/squares", repo_type="dataset"
        )
        return str(commit.oid)

    return send


def opened(source: str) -> TrainingSet:
    return open_data(DataChoice.parse(source), Path("/nowhere"), 2, lambda _progress: None)


def expected(numbers: range) -> list[RawSample]:
    return [RawSample(make_sample(number).members["jpg"], None, number) for number in numbers]


def samples_of(data: TrainingSet) -> list[RawSample]:
    return [data.read(index) for index in range(len(data))]


def test_a_dataset_is_read_at_a_commit_that_its_parts_name(upload: Callable[..., str], tmp_path: Path) -> None:
    old = upload(range(10))
    upload(range(3), "data/test-00000-of-00001.parquet")
    new = upload(range(20, 40))
    newest = opened("hf:alice/squares")
    assert samples_of(newest) == expected(range(20, 40))
    assert [part.name for part in newest.parts] == [f"alice/squares@{new}/data/train-00000-of-00001.parquet"]
    pinned = opened(f"hf:alice/squares@{old}")
    assert samples_of(pinned) == expected(range(10))
    assert old in pinned.parts[0].name
    assert not list((tmp_path / "hub_cache").rglob("test-*")), "what is not trained on is not downloaded"


def test_a_commit_that_was_downloaded_needs_no_hub(
    upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = upload(range(10))
    before = opened("hf:alice/squares")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert opened(f"hf:alice/squares@{commit}").digest == before.digest
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        opened("hf:alice/squares")
    next((tmp_path / "hub_cache").rglob("snapshots/*/data/*.parquet")).unlink()
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        opened(f"hf:alice/squares@{commit}")


def test_what_the_hub_does_not_have_is_said(upload: Callable[..., str], hub: HfApi) -> None:
    upload(range(3))
    with pytest.raises(NotFoundError, match="no dataset alice/circles"):
        opened("hf:alice/circles")
    with pytest.raises(NotFoundError, match="no revision 'v2'"):
        opened("hf:alice/squares@v2")
    hub.create_repo("alice/empty", repo_type="dataset")
    with pytest.raises(DataFormatError, match="alice/empty on the Hub holds no parquet files"):
        opened("hf:alice/empty")
