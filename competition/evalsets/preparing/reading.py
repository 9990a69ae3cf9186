"""The reader of each format. Each imports its format's library when it reads, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from competition.evalsets.preparing.captions import read_captions_csv, read_karpathy
from competition.evalsets.preparing.elevater import read_elevater
from competition.evalsets.preparing.folders import read_image_folders, read_published
from competition.evalsets.preparing.hugging_face import read_hugging_face
from competition.evalsets.preparing.recipes import Format, SetRecipe
from competition.evalsets.preparing.saved import Scratch
from competition.evalsets.preparing.source import Source
from competition.evalsets.preparing.torchvision_source import read_torchvision
from competition.evalsets.preparing.voc import read_voc_2007

_READERS: Mapping[Format, Callable[[SetRecipe, Path], Source]] = MappingProxyType(
    {
        Format.IMAGE_FOLDER: read_image_folders,
        Format.ELEVATER: read_elevater,
        Format.VOC_2007: read_voc_2007,
        Format.CAPTIONS_CSV: read_captions_csv,
        Format.KARPATHY: read_karpathy,
    }
)


def read_source(recipe: SetRecipe, kind: Format, folder: Path, scratch: Scratch, *, download: bool = False) -> Source:
    """What a recipe takes of a source in a format.

    Args:
        recipe: of the set.
        kind: the format.
        folder: of the source.
        scratch: a folder for what is unpacked; it has to stay until the source's last image is read.
        download: let torchvision fetch the source into its folder.

    Raises:
        NotFoundError: the source, or a file of it, is not there.
        DataFormatError: it is not what its format promises.
        StorageError: a file cannot be read.
    """
    if kind is Format.TORCHVISION:
        return read_torchvision(recipe, folder, download=download)
    if kind is Format.HUGGING_FACE:
        return read_hugging_face(recipe, folder, scratch)
    return _READERS.get(kind, read_published)(recipe, folder)
