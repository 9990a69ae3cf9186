"""Datasets of the Hub as a source: parquet files of one commit, downloaded once into the Hub client's cache."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

from competition.canonical import canonical_json
from competition.data.atomic import make_folder, storage_error, write_bytes
from competition.errors import (
    DataCupError,
    NotFoundError,
    PermissionDeniedError,
    ServiceUnavailableError,
    UsageError,
)
from competition.hub import hub_api
from competition.progress import ProgressHook
from participant_kit.settings import KitSettings
from participant_kit.train.data.hugging_face import HuggingFaceSource, open_parquet
from participant_kit.train.data.parquet_files import training_files

HUB_PREFIX = "hf:"

_NAMED = re.compile(r"hf:(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(@(?P<revision>[\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER_SECONDS = 120.0
_NAME_LENGTH = 120


def open_hub_dataset(source: str, workers: int, progress: ProgressHook) -> HuggingFaceSource:
    """A dataset ``hf:OWNER/NAME[@REVISION]`` of the Hub at ``HF_ENDPOINT``.

    The names of its parts say the commit that the revision stood for. A commit that was downloaded before is opened
    without the Hub.

    Args:
        source: as given; the revision is a branch, a tag or a commit.
        workers: threads that download and read files.
        progress: told how many are read.

    Raises:
        UsageError: ``source`` is no such name.
        NotFoundError, PermissionDeniedError, ServiceUnavailableError: the Hub has no such dataset, shows it to
            others, or does not answer.
        DataFormatError, TrainingError: see ``open_parquet``.
    """
    match = _NAMED.fullmatch(source)
    if match is None:
        raise UsageError(
            f"{source!r} does not name a dataset of the Hub.", hint="Give hf:OWNER/NAME or hf:OWNER/NAME@REVISION."
        )
    repo, revision = match["repo"], match["revision"]
    folder = _downloaded(repo, revision or "main", workers)
    commit = folder.name
    named = f"{repo}@{commit}/"
    files = [path.relative_to(folder).as_posix() for path in folder.glob("**/*.parquet")]
    # What a report lists has a length; the commit alone says which content it is.
    if any(len(named + file) > _NAME_LENGTH for file in files):
        named = f"{commit}/"
    return open_parquet(folder, workers, progress, named)


def _downloaded(repo: str, revision: str, workers: int) -> Path:
    """The cached folder of a commit, with the files to train on; its name is the commit."""
    from huggingface_hub.errors import HfHubHTTPError

    kept = _kept(repo, revision) if _COMMIT.fullmatch(revision) else None
    if kept is not None:
        return kept
    # Transport errors are those of whichever HTTP library the client's version uses: the first base of its own error.
    errors: tuple[type[Exception], ...] = (HfHubHTTPError, HfHubHTTPError.__bases__[0], OSError)
    endpoint = KitSettings().hub_endpoint
    api = hub_api(endpoint, answer_seconds=_ANSWER_SECONDS)
    try:
        commit = str(api.dataset_info(repo, revision=revision).sha)
        files = training_files(api.list_repo_files(repo, repo_type="dataset", revision=commit), f"{repo} on the Hub")
        folder = Path(
            api.snapshot_download(
                repo, repo_type="dataset", revision=commit, allow_patterns=files, max_workers=max(1, workers)
            )
        )
    except errors as error:
        raise _explained(error, endpoint, repo, revision) from error
    make_folder(_list_of(commit).parent)
    write_bytes(_list_of(commit), canonical_json(files))
    return folder


def _list_of(commit: str) -> Path:
    """The file that lists what was downloaded of a commit: a folder alone does not tell whether it is whole."""
    return KitSettings().cache.expanduser() / "hub_datasets" / f"{commit}.json"


def _kept(repo: str, commit: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        files = json.loads(_list_of(commit).read_bytes())
        folder = Path(snapshot_download(repo, repo_type="dataset", revision=commit, local_files_only=True))
    except (FileNotFoundError, ValueError, LocalEntryNotFoundError):
        return None  # it is downloaded, again or for the first time
    return folder if all((folder / file).exists() for file in files) else None


def _explained(error: Exception, endpoint: str, repo: str, revision: str) -> DataCupError:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    login = "Is it private? Then log in with `hf auth login`, or set HF_TOKEN."
    if isinstance(error, GatedRepoError):
        return PermissionDeniedError(
            f"The dataset {repo} is shown only to those whom its owner lets in.", hint="Ask on its page, then log in."
        )
    if isinstance(error, RevisionNotFoundError):
        return NotFoundError(f"The dataset {repo} has no revision {revision!r}.", hint="See its page for those it has.")
    if isinstance(error, RepositoryNotFoundError):
        return NotFoundError(f"There is no dataset {repo} on the Hub at {endpoint}.", hint=login)
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        return ServiceUnavailableError(
            f"The Hub at {endpoint} did not give the dataset {repo} (HTTP {status}).",
            hint=f"Run the same command again later. {login}",
        )
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES}:
        return storage_error(error, "downloading", Path(error.filename or repo))
    return ServiceUnavailableError(
        f"The Hub at {endpoint} does not answer.",
        hint="Check HF_ENDPOINT, or wait, and run the same command again. A commit that is downloaded needs no Hub: "
        "name it as hf:OWNER/NAME@COMMIT.",
    )
