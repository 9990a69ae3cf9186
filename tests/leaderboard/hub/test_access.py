"""Who may read and write what."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from competition.errors import AuthenticationError, UsageError
from leaderboard.hub.app import Role, create_token, revoke_token
from leaderboard.hub.tokens import find_account

# The client's plain LFS upload uses an argument that its own HTTP library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def status(caught: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return caught.value.response.status_code


def test_anybody_reads_a_public_repository_without_a_token(hub, repo, tmp_path):
    hub.api().upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    stranger = hub.api(token=False)
    assert stranger.list_repo_files(repo) == ["a"]
    assert stranger.hf_hub_download(repo, "a", cache_dir=tmp_path)


def test_nobody_writes_without_a_token(hub, repo):
    with pytest.raises(HfHubHTTPError) as caught:
        hub.api(token=False).upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    assert status(caught) == 401


@pytest.mark.parametrize("which", ["unknown", "expired", "revoked"])
def test_a_bad_token_is_refused_even_for_reading_what_is_public(hub, repo, which):
    token = (
        "hub_unknown"
        if which == "unknown"
        else hub.new_token(lifetime=timedelta(hours=-1 if which == "expired" else 1))
    )
    if which == "revoked":
        revoke_token(hub.root, token)
    for call in (lambda api: api.whoami(), lambda api: api.repo_info(repo), lambda api: api.create_repo("bob/a")):
        with pytest.raises(HfHubHTTPError) as caught:
            call(hub.api(token))
        assert status(caught) == 401
        # Not "repository not found": the user must learn that it is the token.
        assert not isinstance(caught.value, RepositoryNotFoundError)


def test_nobody_writes_to_a_foreign_namespace(hub, repo):
    bob = hub.api(hub.new_token("bob"))
    for call in (
        lambda: bob.create_repo("alice/another"),
        lambda: bob.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo),
        lambda: bob.upload_file(path_or_fileobj=b"\0" * 99, path_in_repo="a", repo_id=repo),
        lambda: bob.update_repo_settings(repo, private=True),
        lambda: bob.super_squash_history(repo),
        lambda: bob.delete_repo(repo),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert status(caught) == 403
    assert bob.list_repo_files(repo) == []


def test_a_reading_token_does_not_write(hub, repo):
    reader = hub.api(hub.new_token("alice", Role.READ))
    with pytest.raises(HfHubHTTPError) as caught:
        reader.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    assert status(caught) == 403


def test_a_private_repository_does_not_exist_for_strangers(hub, tmp_path):
    alice = hub.api()
    alice.create_repo("alice/secret", private=True)
    sha = alice.upload_file(path_or_fileobj=b"\0" * 99, path_in_repo="f", repo_id="alice/secret").oid
    for stranger in (hub.api(token=False), hub.api(hub.new_token("bob"))):
        assert not stranger.repo_exists("alice/secret")
        assert list(stranger.list_models(author="alice")) == []
        for call in (
            lambda api: api.repo_info("alice/secret"),
            lambda api: api.snapshot_download("alice/secret", revision=sha, cache_dir=tmp_path),
            lambda api: api.hf_hub_download("alice/secret", "f", revision=sha, cache_dir=tmp_path),
            lambda api: api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="alice/secret"),
        ):
            with pytest.raises(RepositoryNotFoundError):
                call(stranger)
    with pytest.raises(RepositoryNotFoundError):
        hub.api(hub.new_token("bob")).delete_repo("alice/secret")
    assert hub.api(hub.new_token("alice", Role.READ)).list_repo_files("alice/secret") == ["f"]
    alice.update_repo_settings("alice/secret", private=False)
    assert hub.api(token=False).list_repo_files("alice/secret") == ["f"]


def test_tokens_are_stored_as_hashes_and_know_their_user(tmp_path):
    token = create_token(tmp_path, "alice", "read", None)
    assert (find_account(tmp_path, token).user, find_account(tmp_path, token).role) == ("alice", Role.READ)
    assert all(token not in path.name and token not in path.read_text() for path in (tmp_path / "tokens").iterdir())
    with pytest.raises(AuthenticationError):
        find_account(tmp_path, "../" + token)


@pytest.mark.parametrize("user", ["", "..", "a/b", "api", "datasets", "a" * 97, "-a", "a.git"])
def test_a_user_name_that_cannot_be_a_namespace_gets_no_token(tmp_path, user):
    with pytest.raises(UsageError):
        create_token(tmp_path, user, Role.WRITE, None)


def test_a_token_needs_a_known_role_and_an_aware_expiry(tmp_path):
    with pytest.raises(UsageError):
        create_token(tmp_path, "alice", "admin", None)
    with pytest.raises(UsageError):
        create_token(tmp_path, "alice", Role.WRITE, datetime(2030, 1, 1))  # noqa: DTZ001 - the point of the test
