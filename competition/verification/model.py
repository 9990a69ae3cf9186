"""The model file: exactly the tensors of the recipe's model, all finite. Its bytes never reach torch here."""

from __future__ import annotations

from functools import cache
from math import prod

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import ClipRecipe
from competition.verification.entry import Entry, Findings, shown
from competition.verification.safetensors_file import TensorEntry, check_finite, read_header

TensorKind = tuple[str, tuple[int, ...]]
"""safetensors' name of the dtype, and the shape."""

_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "bool": "BOOL"}
_LISTED = 3


def expected_tensors(recipe: ClipRecipe) -> dict[str, TensorKind]:
    """What the recipe's model consists of, by tensor name. Loads torch; the model itself takes no memory."""
    return _expected(recipe.architecture.model_dump_json())


@cache
def _expected(architecture: str) -> dict[str, TensorKind]:
    import open_clip
    import torch

    from competition.rules import ClipArchitecture

    config = ClipArchitecture.model_validate_json(architecture).open_clip_config()
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    return {
        name: (_DTYPES[str(tensor.dtype).removeprefix("torch.")], tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
    }


def check_model_header(entry: Entry) -> Findings:
    """The header is sound, and names, shapes and dtypes are those of the recipe's model."""
    file, path = entry.only(FileRole.MODEL)
    found = read_header(path, file.path)
    compare_tensors(found, expected_tensors(entry.recipe), file.path, entry.recipe.id)
    return {"tensors": len(found), "weights": _weights(found)}


def check_model_weights(entry: Entry) -> Findings:
    """Every weight is finite."""
    file, path = entry.only(FileRole.MODEL)
    found = read_header(path, file.path)
    check_finite(path, found, file.path)
    return {"finite": _weights(found)}


def compare_tensors(found: dict[str, TensorEntry], expected: dict[str, TensorKind], name: str, recipe: str) -> None:
    """Raises ``RejectionError`` naming the first tensors that are missing, unknown or of another shape or dtype."""
    for problem, names in (
        ("lacks", sorted(expected.keys() - found.keys())),
        ("has unknown", sorted(found.keys() - expected.keys())),
    ):
        if names:
            listed = ", ".join(shown(key) for key in names[:_LISTED])
            rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            raise _mismatch(f"{name} {problem} tensors against the model of recipe {recipe!r}: {listed}{rest}.")
    for key, tensor in sorted(found.items()):
        kind = (tensor.dtype, tensor.shape)
        if kind != expected[key]:
            raise _mismatch(
                f"{name}: tensor {shown(key)} is {_words(kind)}, but in the model of recipe {recipe!r} it is "
                f"{_words(expected[key])}."
            )


def _weights(tensors: dict[str, TensorEntry]) -> int:
    return sum(prod(tensor.shape) for tensor in tensors.values())


def _words(kind: TensorKind) -> str:
    return f"{kind[0]} {list(kind[1])}"


def _mismatch(message: str) -> RejectionError:
    return RejectionError(RejectionReason.MODEL_SHAPE_MISMATCH, message)
