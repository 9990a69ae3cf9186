"""Files that strategies need beside a pool: language models, dictionaries, lists of ids, centroids, target features.

One rule for all: the path that the participant gives; else the asset's name in the cache (``DATACUP_CACHE``, folder
``assets``); else where the system keeps it; else a download with a pinned digest; else one sentence that says how to
get it. A pickle is never loaded: DataComp publishes its centroids and target features as pickles only, so those have to
be converted once (the message says how), or made anew (``datacup pool cluster``).
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import PARTIAL_SUFFIX, make_folder, storage_errors
from competition.data.digests import file_sha256
from competition.errors import DataFormatError, ServiceUnavailableError, UsageError

_DATACOMP_ASSETS = "https://github.com/sagadre/datacomp_baseline_assets/releases/download/v0.1.0-alpha"
_TIMEOUT_S = 30.0
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or folder that DataCup knows by name.

    Args:
        name: in the cache, and as a participant may name it in place of a path.
        title: what it is, for messages: "the list of ImageNet-21k's synset ids".
        option: the option that takes a path instead.
        url: where it is published in a form that can be used, if anywhere.
        sha256: its digest; a download is refused without it.
        system_path: where operating systems keep it.
        advice: how to get it when it cannot be downloaded.
        conversion: Python that makes it of the pickles that DataComp publishes.
    """

    name: str
    title: str
    option: str
    url: str = ""
    sha256: str = ""
    system_path: Path | None = None
    advice: str = ""
    conversion: str = ""


LID_176_BIN = Asset(
    "lid.176.bin",
    "fastText's full language model",
    "--language-model",
    url="https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.bin",
    sha256="7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e",
)
SYNSET_IDS = Asset(
    "imagenet21k_wordnet_ids.txt",
    "the list of ImageNet-21k's synset ids",
    "--synset-ids",
    url=f"{_DATACOMP_ASSETS}/imagenet21k_wordnet_ids.txt",
    sha256="66362bdedf36d933382edca5493fc562dcc17128ce36403c9e730a75f48cb2f2",
)
WORDNET = Asset(
    "wordnet",
    "WordNet 3.0",
    "--wordnet-dir",
    system_path=Path("/usr/share/wordnet"),
    advice="Install it (Debian: apt-get install wordnet-base), or name its `dict` folder with --wordnet-dir.",
)
TARGET_FEATURES = Asset(
    "in1k_clip_vit_l14.npz",
    "the CLIP L/14 features of ImageNet-1k's training images",
    "--target-features",
    advice="Name an .npz or .npy of features of your target images with --target-features. DataComp publishes its own "
    f"as pickles, {_DATACOMP_ASSETS}/in1k_clip_vit_l14_0.pt to _4.pt, which are never read here.",
    conversion="numpy.savez('in1k_clip_vit_l14.npz', *[torch.load(f'in1k_clip_vit_l14_{i}.pt', weights_only=False)"
    "['image_features'].numpy() for i in range(5)])",
)


def centroids_asset(scale: str) -> Asset:
    """DataComp's cluster centres of a scale's pool, converted to ``.npy``."""
    return Asset(
        f"{scale}_centroids_l14.npy",
        f"the centroids of DataComp's {scale} pool",
        "--centroids",
        advice="Make centroids of your own pool with `datacup pool cluster`, and name them with --centroids. DataComp "
        f"publishes its own as a pickle, {_DATACOMP_ASSETS}/{scale}_centroids_l14.pt, which is never read here.",
        conversion=f"numpy.save('{scale}_centroids_l14.npy', "
        f"torch.load('{scale}_centroids_l14.pt', weights_only=False))",
    )


def find_asset(asset: Asset, given: Path | None = None, *, sleep: Callable[[float], None] = time.sleep) -> Path:
    """Where the asset lies on this machine; downloaded into the cache if need be.

    Args:
        asset: what is needed.
        given: what the participant named: a path, or the asset's own name.
        sleep: injected by tests.

    Raises:
        UsageError: it is absent and cannot be downloaded, or the given path does not exist.
        DataFormatError: it is a pickle, or the file that was downloaded is another one than the pinned.
        ServiceUnavailableError: its host does not answer.
        StorageError: the cache cannot be written.
    """
    if given is not None and (given.exists() or str(given) != asset.name):
        if not given.exists():
            raise UsageError(f"{asset.option} {given} does not exist.", hint=f"It names {asset.title}.")
        return _no_pickle(given, asset)
    cached = _cache() / asset.name
    if cached.exists() and (not asset.sha256 or file_sha256(cached) == asset.sha256):
        return _no_pickle(cached, asset)
    if asset.system_path is not None and asset.system_path.exists():
        return asset.system_path
    if not asset.url:
        hint = f"{asset.advice} {_how_to_convert(asset)}".strip()
        raise UsageError(f"This needs {asset.title}, and {cached} does not exist.", hint=hint)
    _download(asset, cached, sleep)
    return cached


def _no_pickle(path: Path, asset: Asset) -> Path:
    """Refuse what only unpickling could read: a torch archive, or a bare pickle."""
    if path.is_file() and _is_pickle(path):
        raise DataFormatError(
            f"{path} is a pickle (torch.save), which can run code when it is loaded and is never read here.",
            hint=_how_to_convert(asset) or f"Name a plain file with {asset.option}.",
        )
    return path


def _how_to_convert(asset: Asset) -> str:
    if not asset.conversion:
        return ""
    return (
        f'If you trust where the pickle comes from, convert it once: python -c "import numpy, torch; '
        f'{asset.conversion}", and put {asset.name} into {_cache()} or name it with {asset.option}.'
    )


def _is_pickle(path: Path) -> bool:
    with storage_errors("reading", path), path.open("rb") as stream:
        head = stream.read(4)
        if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            return True
        if head != b"PK\x03\x04":
            return False
        try:
            with zipfile.ZipFile(stream) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist())
        except zipfile.BadZipFile:
            return False


def _cache() -> Path:
    from participant_kit.settings import KitSettings  # as httpx below, imported where needed: most subsets need neither

    return KitSettings().assets_root


def _download(asset: Asset, target: Path, sleep: Callable[[float], None]) -> None:
    """Fetch into a hidden sibling, from where an earlier attempt stopped, and rename it when the digest is right."""
    import httpx

    make_folder(target.parent)
    partial = target.with_name(f".{target.name}{PARTIAL_SUFFIX}")
    with storage_errors("writing", partial), _alone(partial):
        if target.exists() and file_sha256(target) == asset.sha256:  # another process was faster
            return
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                sleep(min(0.5 * 2.0**attempt, 10.0))
            try:
                resumed = _fetch(asset.url, partial)
            except (httpx.RequestError, httpx.HTTPStatusError) as error:
                problem = str(error).splitlines()[0] if str(error) else type(error).__name__
                if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                    break
                continue
            if resumed and file_sha256(partial) != asset.sha256:  # what an earlier attempt left may be at fault
                partial.unlink()
                problem = "the parts that arrived do not fit together"
                continue
            _adopt(asset, partial, target)
            return
    raise ServiceUnavailableError(
        f"Downloading {asset.title} from {asset.url} failed: {problem.rstrip('.')}.",
        hint=f"Run the same command again: what has arrived is kept. Or get the file elsewhere and put it at {target}.",
    )


def _fetch(url: str, partial: Path) -> bool:
    """Append what is missing of the file; a host that cannot send a part sends the whole, which replaces it.

    Returns:
        Whether bytes of an earlier attempt are part of it.
    """
    import httpx

    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with httpx.stream("GET", url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True) as response:
        if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # everything may be here; the digest decides
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        with partial.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_raw():
                stream.write(chunk)
    return resumed


def _adopt(asset: Asset, partial: Path, target: Path) -> None:
    found = file_sha256(partial)
    if found != asset.sha256:
        partial.unlink()
        raise DataFormatError(
            f"The file at {asset.url} is not the expected one: its sha256 is {found}, not {asset.sha256}.",
            hint=f"It was not kept. Get {asset.title} elsewhere and name it with {asset.option}.",
        )
    partial.replace(target)


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """One download of a file at a time; another process waits and then finds it done."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two downloads at once spoil each other, and the digest tells
        yield
        return
    lock = partial.with_suffix(".lock")
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
