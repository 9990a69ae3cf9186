"""Which columns of a table hold image, label, caption and uid: fixed rules, by type and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from competition.errors import DataFormatError

if TYPE_CHECKING:
    from pyarrow import Schema

_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")
_LABELS = ("label", "labels", "cls", "fine_label")
_CAPTIONS = ("text", "caption", "txt")
_UID = "uid"
_JSON = "json"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns; ``None`` where there is none.

    Args:
        image: bytes, or structs of ``bytes`` and ``path``.
        label: whole numbers.
        caption: strings.
        uid: strings or whole numbers, or structs with a field ``uid`` (column ``json``).
    """

    image: str
    label: str | None
    caption: str | None
    uid: str | None

    @property
    def names(self) -> list[str]:
        """Those that there are."""
        return [name for name in (self.image, self.label, self.caption, self.uid) if name is not None]


def columns_of(schema: Schema, where: str) -> Columns:
    """Find the columns.

    The image is the first of ``image, img, jpg, jpeg, png, webp`` that holds images, or else the only column of images
    (Hugging Face's ``Image``, a struct with ``bytes``, or bytes). The label is the first of ``label, labels, cls,
    fine_label`` of whole numbers, or else the only ``ClassLabel``. The caption is the first of ``text, caption, txt``
    of strings. The uid is the column ``uid``, or the field of that name in structs ``json``.

    Args:
        schema: of the table.
        where: its place, for messages.

    Raises:
        DataFormatError: no column holds images, or several do and none has one of those names.
    """
    import pyarrow.types as kinds
    from datasets import ClassLabel, Features

    fields: dict[str, Any] = {field.name: field.type for field in schema}
    images = [name for name, kind in fields.items() if _holds_images(kind)]
    image = _first(_IMAGES, images) or (images[0] if len(images) == 1 else None)
    if image is None:
        found = "Several columns hold images" if images else "No column holds images"
        raise DataFormatError(
            f"{found} in {where}; its columns are: {', '.join(f'{name} ({kind})' for name, kind in fields.items())}.",
            hint="Name the column of images `image`; it holds encoded bytes, or structs of `bytes` and `path`.",
        )
    classes = [name for name, kind in Features.from_arrow_schema(schema).items() if isinstance(kind, ClassLabel)]
    numbers = [name for name, kind in fields.items() if kinds.is_integer(kind)]
    texts = [name for name, kind in fields.items() if kinds.is_string(kind) or kinds.is_large_string(kind)]
    label = _first(_LABELS, numbers) or (classes[0] if len(classes) == 1 else None)
    return Columns(image, label, _first(_CAPTIONS, texts), _uid_of(fields, [*numbers, *texts]))


def _holds_images(kind: Any) -> bool:
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_bytes(kind.field(place).type)
    return _is_bytes(kind)


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def _uid_of(fields: dict[str, Any], plain: Sequence[str]) -> str | None:
    import pyarrow.types as kinds

    if _UID in plain:
        return _UID
    kind = fields.get(_JSON)
    if kind is not None and kinds.is_struct(kind) and kind.get_field_index(_UID) >= 0:
        return _JSON
    return None


def _first(wanted: Sequence[str], there: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in there), None)
