"""Everything the project asks of a Hub, asked with the official client over real HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from leaderboard.hub import content_endpoints, repository_endpoints
from tests.leaderboard.hub.conftest import RunningHub

# The client's plain LFS upload uses an argument that its own HTTP library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

BINARY = np.random.default_rng(0).bytes(3_000_000)


def commits(hub: RunningHub, repo: str) -> list[str]:
    return [commit.commit_id for commit in hub.api().list_repo_commits(repo)]


def test_whoami_names_the_user_and_the_role_of_the_token(hub):
    me = hub.api().whoami()
    assert (me["name"], me["auth"]["accessToken"]["role"]) == ("alice", "write")


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_repository_of_each_kind_is_created_described_filled_and_deleted(hub, kind, tmp_path):
    api = hub.api()
    extra = {"space_sdk": "static"} if kind == "space" else {}
    url = api.create_repo("alice/one", repo_type=kind, **extra)
    assert (url.repo_id, url.repo_type) == ("alice/one", kind)
    assert api.create_repo("alice/one", repo_type=kind, exist_ok=True, **extra).repo_id == "alice/one"
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("alice/one", repo_type=kind, **extra)
    sha = api.upload_file(path_or_fileobj=b"hello", path_in_repo="a.txt", repo_id="alice/one", repo_type=kind).oid
    assert api.repo_info("alice/one", repo_type=kind).sha == sha
    path = api.hf_hub_download("alice/one", "a.txt", repo_type=kind, cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"hello"
    api.delete_repo("alice/one", repo_type=kind)
    assert not api.repo_exists("alice/one", repo_type=kind)
    api.delete_repo("alice/one", repo_type=kind, missing_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("alice/one", repo_type=kind)


def test_a_name_without_namespace_is_the_callers_own(hub):
    assert hub.api().create_repo("mine").repo_id == "alice/mine"
    assert [model.id for model in hub.api().list_models(author="alice")] == ["alice/mine"]


def test_a_large_file_survives_the_trip_in_parts(hub, repo, tmp_path):
    api = hub.api()
    api.upload_file(path_or_fileobj=BINARY, path_in_repo="deep/model.safetensors", repo_id=repo)
    assert Path(api.hf_hub_download(repo, "deep/model.safetensors", cache_dir=tmp_path)).read_bytes() == BINARY
    info = api.model_info(repo, files_metadata=True).siblings[0]
    assert (info.size, info.lfs.sha256) == (len(BINARY), hashlib.sha256(BINARY).hexdigest())
    assert not list((hub.root / "scratch").iterdir()), "nothing temporary is left"


def test_a_small_binary_file_is_one_lfs_upload(hub, repo, tmp_path):
    api = hub.api()
    api.upload_file(path_or_fileobj=BINARY[:1000], path_in_repo="subset.npy", repo_id=repo)
    assert Path(api.hf_hub_download(repo, "subset.npy", cache_dir=tmp_path)).read_bytes() == BINARY[:1000]
    assert api.get_paths_info(repo, "subset.npy")[0].lfs.size == 1000


def test_a_folder_is_uploaded_listed_and_downloaded_whole(hub, repo, tmp_path):
    folder = tmp_path / "submission"
    (folder / "deep/er").mkdir(parents=True)
    contents = {
        "README.md": b"# An entry\n",
        "empty": b"",
        "deep/er/model.bin": BINARY[:500_000],
        "deep/ä ö+%#?.txt": b"1",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    api = hub.api()
    sha = api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo="entries/1").oid
    expected = {f"entries/1/{name}" for name in contents}
    assert set(api.list_repo_files(repo)) == expected
    snapshot = Path(api.snapshot_download(repo, revision=sha, cache_dir=tmp_path / "cache"))
    assert {str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if p.is_file()} == expected
    for name, content in contents.items():
        assert (snapshot / "entries/1" / name).read_bytes() == content


def test_the_tree_has_files_and_folders_with_the_ids_that_git_gives_them(hub, repo):
    api = hub.api()
    api.create_commit(
        repo,
        [CommitOperationAdd("a.txt", b"hello\n"), CommitOperationAdd("sub/b.txt", b"hello\n")],
        commit_message="two",
    )
    top = {entry.path: entry for entry in api.list_repo_tree(repo)}
    assert set(top) == {"a.txt", "sub"}
    # `git hash-object` and `git write-tree` of the same files
    assert top["a.txt"].blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert top["sub"].tree_id == "dd5a3627ad3d4a1eaa9b180972bab37891a5e101"
    assert [entry.path for entry in api.list_repo_tree(repo, "sub")] == ["sub/b.txt"]
    assert {entry.path for entry in api.list_repo_tree(repo, recursive=True)} == {"a.txt", "sub", "sub/b.txt"}
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "absent"))


def test_a_long_tree_comes_in_pages(hub, repo):
    names = {f"{number:04}.txt" for number in range(1100)}
    hub.api().create_commit(repo, [CommitOperationAdd(name, b"x") for name in names], commit_message="many")
    assert set(hub.api().list_repo_files(repo)) == names


def test_an_old_sha_gives_the_old_bytes_in_any_order(hub, repo, tmp_path):
    """The cache of the client goes by ETag: one that is taken from the newest revision returns the wrong file."""
    api = hub.api()
    for content in (b"text", BINARY[:300_000]):
        old = api.upload_file(path_or_fileobj=content + b"old", path_in_repo="f", repo_id=repo).oid
        new = api.upload_file(path_or_fileobj=content + b"new", path_in_repo="f", repo_id=repo).oid
        for revision, ending in ((new, b"new"), (old, b"old"), ("main", b"new"), (old, b"old")):
            path = api.hf_hub_download(repo, "f", revision=revision, cache_dir=tmp_path)
            assert Path(path).read_bytes() == content + ending
        snapshot = Path(api.snapshot_download(repo, revision=old, cache_dir=tmp_path / "fresh"))
        assert (snapshot / "f").read_bytes() == content + b"old"


def test_uploading_the_same_again_makes_no_commit(hub, repo):
    api = hub.api()
    for content in (b"text", BINARY[:1000]):
        first = api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repo).oid
        before = commits(hub, repo)
        assert api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repo).oid == first
        assert commits(hub, repo) == before


def test_a_stale_parent_is_refused_and_a_fresh_one_accepted(hub, repo):
    api = hub.api()
    old = api.repo_info(repo).sha
    head = api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, parent_commit=old).oid
    with pytest.raises(HfHubHTTPError) as caught:
        api.upload_file(path_or_fileobj=b"2", path_in_repo="b", repo_id=repo, parent_commit=old)
    assert caught.value.response.status_code == 412
    api.upload_file(path_or_fileobj=b"2", path_in_repo="b", repo_id=repo, parent_commit=head)
    assert api.list_repo_files(repo) == ["a", "b"]


def test_files_are_copied_and_deleted(hub, repo):
    api = hub.api()
    api.upload_file(path_or_fileobj=BINARY[:1000], path_in_repo="d/large", repo_id=repo)
    api.upload_file(path_or_fileobj=b"text", path_in_repo="d/small", repo_id=repo)
    copies = [CommitOperationCopy("d/large", "large"), CommitOperationCopy("d/small", "small")]
    api.create_commit(repo, copies, commit_message="copy")
    assert api.list_repo_files(repo) == ["d/large", "d/small", "large", "small"]
    api.create_commit(repo, [CommitOperationDelete("d/"), CommitOperationDelete("small")], commit_message="delete")
    assert api.list_repo_files(repo) == ["large"]
    with pytest.raises(EntryNotFoundError):
        api.delete_file("small", repo)


def test_history_and_refs_tell_who_did_what(hub, repo):
    api = hub.api()
    sha = api.upload_file(
        path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, commit_message="Why\n", commit_description="Because."
    ).oid
    newest, initial = api.list_repo_commits(repo)
    assert (newest.commit_id, newest.authors, newest.message) == (sha, ["alice"], "Because.")
    assert initial.title == "initial commit"
    assert [(ref.name, ref.target_commit) for ref in api.list_repo_refs(repo).branches] == [("main", sha)]


def test_long_histories_and_lists_come_in_pages_that_the_client_follows(hub, repo, monkeypatch):
    monkeypatch.setattr(content_endpoints, "HISTORY_PAGE", 3)
    monkeypatch.setattr(repository_endpoints, "LIST_PAGE", 3)
    api = hub.api()
    for number in range(7):
        commit = [CommitOperationAdd("counter", str(number).encode())]
        api.create_commit(repo, commit, commit_message=f"number {number}")
        api.create_repo(f"many-{number}", private=number % 2 == 0)
    titles = [commit.title for commit in api.list_repo_commits(repo)]
    assert titles == [f"number {number}" for number in reversed(range(7))] + ["initial commit"]
    mine = [model.id for model in api.list_models(author="alice")]
    assert mine == [repo, *(f"alice/many-{number}" for number in range(7))]
    public = [model.id for model in HfApi(endpoint=hub.url, token=False).list_models(author="alice")]
    assert public == [repo, *(f"alice/many-{number}" for number in (1, 3, 5))]


def test_what_is_absent_is_reported_as_the_client_expects(hub, repo, tmp_path):
    api = hub.api()
    assert not api.file_exists(repo, "absent")
    assert not api.revision_exists(repo, "0" * 40)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "absent", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(repo, "absent", revision="v1", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.snapshot_download(repo, revision="0" * 40, cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError):
        api.snapshot_download("alice/absent", cache_dir=tmp_path)


def test_a_squashed_history_loses_the_old_shas_and_keeps_the_files(hub, repo, tmp_path):
    api = hub.api()
    old = api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo).oid
    api.super_squash_history(repo)
    assert len(commits(hub, repo)) == 1
    assert Path(api.hf_hub_download(repo, "a", cache_dir=tmp_path)).read_bytes() == b"1"
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(repo, "a", revision=old, cache_dir=tmp_path)


def test_a_deleted_repository_takes_its_content_along(hub, repo, tmp_path):
    api = hub.api()
    sha = api.upload_file(path_or_fileobj=BINARY[:1000], path_in_repo="f", repo_id=repo).oid
    api.delete_repo(repo)
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download(repo, "f", revision=sha, cache_dir=tmp_path)
    api.create_repo(repo)
    assert api.list_repo_files(repo) == []
    assert not api.revision_exists(repo, sha)
