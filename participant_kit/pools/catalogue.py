"""The pools that are published on the Hub, by name.

No revision stands here: a sha can only be looked up on the Hub. It is looked up when a download begins, and recorded
in the pool's own ``pool.json``, so that a download that is resumed never mixes two revisions; ``--revision`` pins one
from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from competition.errors import UsageError
from participant_kit.pools.places import METADATA_FOLDER, SHARDS_FOLDER

_METADATA_SUFFIXES = (".parquet",)
_FEATURE_SUFFIXES = (".npz",)


class Content(StrEnum):
    """What a repository holds."""

    METADATA = "metadata"
    """DataComp's parquet and npz files; the images are fetched from the web."""
    SHARDS = "shards"
    """Webdataset shards with the images in them."""
    FILES = "files"
    """The images in files of another kind: fetched as published, to be unpacked by hand."""


@dataclass(frozen=True, slots=True)
class KnownPool:
    """A pool on the Hub.

    Args:
        name: as the command line takes it.
        title: for messages.
        repo: dataset repository.
        content: what it holds.
        samples: as published, where known.
        nested: its files lie in folders ``part_*``, which are flattened here.
    """

    name: str
    title: str
    repo: str
    content: Content
    samples: int | None = None
    nested: bool = False

    @property
    def folder(self) -> str:
        """Where its files go within the pool's folder."""
        return {Content.METADATA: METADATA_FOLDER, Content.SHARDS: SHARDS_FOLDER, Content.FILES: "files"}[self.content]

    def wants(self, path: str, *, features: bool) -> bool:
        """Whether a file of the repository belongs to the pool.

        Args:
            path: within the repository.
            features: the npz files are wanted too.
        """
        *folders, name = path.split("/")
        if name.startswith("."):
            return False
        if self.content is Content.METADATA:
            suffixes = _METADATA_SUFFIXES + (_FEATURE_SUFFIXES if features else ())
            right_place = len(folders) == 1 and folders[0].startswith("part_") if self.nested else not folders
            return right_place and name.endswith(suffixes)
        if self.content is Content.SHARDS:
            return name.endswith(".tar")
        return name.endswith((".parquet", ".tar", ".tar.gz", ".tgz", ".zip"))


_DATACOMP = "mlfoundations/datacomp_"
_IMAGENETPP = "nyu-dice-lab/imagenetpp-"

SCALES = (
    KnownPool("small", "DataComp's small pool", _DATACOMP + "small", Content.METADATA, 12_800_000),
    KnownPool("medium", "DataComp's medium pool", _DATACOMP + "medium", Content.METADATA, 128_000_000),
    KnownPool("large", "DataComp's large pool", _DATACOMP + "large", Content.METADATA, 1_280_000_000),
    KnownPool("xlarge", "DataComp's xlarge pool", _DATACOMP + "xlarge", Content.METADATA, 12_800_000_000, nested=True),
    KnownPool("datacomp_1b", "DataComp-1B", _DATACOMP + "1b", Content.METADATA),
)
"""DataComp's pools, and the best subset of xlarge. The repository ``mlfoundations/datacomp_pools`` holds the same."""

SHIFTS = (
    KnownPool("oi1000", "ImageNet++ OI1000", _IMAGENETPP + "openimages", Content.SHARDS),
    KnownPool("la1000-i2i", "ImageNet++ LA1000 i2i", _IMAGENETPP + "laion-i2i", Content.SHARDS),
    KnownPool("la1000-t2i", "ImageNet++ LA1000 t2i", _IMAGENETPP + "laion-t2i", Content.SHARDS),
    KnownPool("sd1000-i2i", "ImageNet++ SD1000 i2i", _IMAGENETPP + "gen-sd-i2i", Content.SHARDS),
    KnownPool("sd1000-t2i", "ImageNet++ SD1000 t2i", "ek826/imagenet-gen-sd1.5", Content.FILES),
    KnownPool("in1000", "ImageNet-1k", "ILSVRC/imagenet-1k", Content.FILES),
)
"""The curation shifts of ImageNet++, and the original. Where they are published follows SELECT's own list."""


def find_pool(name: str, known: tuple[KnownPool, ...]) -> KnownPool:
    """The pool of that name.

    Raises:
        UsageError: there is none; the hint lists all.
    """
    for pool in known:
        if pool.name == name:
            return pool
    raise UsageError(f"No pool {name!r} is known.", hint=f"Known ones: {', '.join(pool.name for pool in known)}.")
