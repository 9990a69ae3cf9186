"""Hostile models: bytes that are no safetensors, headers that lie, and weights that are not the recipe's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from competition.errors import RejectionReason
from tests.competition.verification.entries import TinyEntry, tiny_weights
from tests.hostile.case import Hostile, write

R = RejectionReason
Make = Callable[[TinyEntry], object]
Weights = dict[str, np.ndarray]
Header = dict[str, dict[str, Any]]


def _raw(content: bytes) -> Make:
    return lambda entry: write(entry, "model.safetensors", content)


def _weights(change: Callable[[Weights], object]) -> Make:
    def make(entry: TinyEntry) -> None:
        weights = tiny_weights()
        change(weights)
        entry.save_weights(weights)
        entry.seal()

    return make


def _header(change: Callable[[Header], object], data: Callable[[bytes], bytes] = lambda data: data) -> Make:
    """The sound model, with another header before its bytes."""

    def make(entry: TinyEntry) -> None:
        raw = (entry.folder / "model.safetensors").read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        change(header)
        text = json.dumps(header).encode()
        write(entry, "model.safetensors", len(text).to_bytes(8, "little") + text + data(raw[start:]))

    return make


def _text(text: bytes) -> Make:
    """A header of this text, and no tensor."""
    return _raw(len(text).to_bytes(8, "little") + text)


def _ten_terabytes(header: Header) -> None:
    header["visual.proj"] = {"dtype": "F32", "shape": [10**6, 2_500_000], "data_offsets": [0, 10**13]}


def _overlap(header: Header) -> None:
    """The last tensor begins in the one before it; no byte is left over."""
    last = max(header.values(), key=lambda tensor: tensor["data_offsets"][1])
    last["data_offsets"] = [offset - 64 for offset in last["data_offsets"]]


def _hole(header: Header) -> None:
    last = max(header.values(), key=lambda tensor: tensor["data_offsets"][1])
    last["data_offsets"] = [offset + 64 for offset in last["data_offsets"]]


def _right_shapes_of_another_model(weights: Weights) -> None:
    """Every name and every shape, but of two tensors each other's."""
    names = ["visual.proj", "text_projection"]
    weights[names[0]], weights[names[1]] = weights[names[1]], weights[names[0]]


def _renamed(weights: Weights) -> None:
    """As timm would call them: the shapes are right, the names are another model's."""
    for name in [name for name in weights if name.startswith("visual.")]:
        weights[name.replace("visual.", "vision_model.")] = weights.pop(name)


def _halve(weights: Weights) -> None:
    weights["visual.proj"] = weights["visual.proj"].astype(np.float16)


def _last_not_finite(weights: Weights) -> None:
    weights["visual.ln_post.weight"][-1] = np.nan


def _all_infinite(weights: Weights) -> None:
    weights["logit_scale"][...] = np.inf


def _checkpoint_of_torch() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cposix\nsystem\nX\x0f\x00\x00\x00touch unpickled\x85R.")
    return stream.getvalue()


CASES: dict[str, Hostile[TinyEntry]] = {
    "a pickle by another name": Hostile(
        R.MODEL_MALFORMED, "promises a header", _raw(b"\x80\x04cposix\nsystem\n(S'touch unpickled'\ntR.")
    ),
    "a checkpoint of torch": Hostile(R.MODEL_MALFORMED, "promises a header", _raw(_checkpoint_of_torch())),
    "a program": Hostile(R.MODEL_MALFORMED, "promises a header", _raw(b"\x7fELF\x02\x01\x01" + bytes(4000))),
    "a pointer to a large file": Hostile(
        R.MODEL_MALFORMED, "promises", _raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64)
    ),
    "no byte": Hostile(R.MODEL_MALFORMED, "promises a header", _raw(b"")),
    "a header beyond everything": Hostile(R.MODEL_MALFORMED, "18446744073709551615", _raw(b"\xff" * 64)),
    "a header of seven megabytes": Hostile(R.MODEL_MALFORMED, "at most 1000000", _text(b'{"a":[' + b"[]," * 2_400_000)),
    "a header nested deeply": Hostile(R.MODEL_MALFORMED, "not valid JSON", _text(b'{"a":' * 150_000)),
    "a header of three hundred thousand lists": Hostile(
        R.MODEL_MALFORMED, "'a' is not", _text(b'{"a":[' + b"[]," * 320_000 + b"0]}")
    ),
    "a number of ten thousand digits": Hostile(
        R.MODEL_MALFORMED, "not valid JSON", _text(b'{"a":' + b"9" * 10_000 + b"}")
    ),
    "a tensor of ten terabytes": Hostile(R.MODEL_MALFORMED, "'visual.proj' is not a dtype", _header(_ten_terabytes)),
    "tensors that overlap": Hostile(R.MODEL_MALFORMED, "overlaps", _header(_overlap, lambda data: data[:-64])),
    "a hole between tensors": Hostile(R.MODEL_MALFORMED, "hole", _header(_hole, lambda data: data + bytes(64))),
    "an archive after the tensors": Hostile(
        R.MODEL_MALFORMED, "its header describes", _header(lambda _: None, lambda data: data + _checkpoint_of_torch())
    ),
    "cut short": Hostile(R.MODEL_MALFORMED, "its header describes", _header(lambda _: None, lambda data: data[:-4])),
    "a type that is code": Hostile(
        R.MODEL_MALFORMED, "__import__", _header(lambda header: header["visual.proj"].update(dtype="__import__('os')"))
    ),
    "metadata that is no text": Hostile(
        R.MODEL_MALFORMED, "from text to text", _header(lambda header: header.update(__metadata__={"format": 1}))
    ),
    "a tensor beside the model's": Hostile(
        R.MODEL_SHAPE_MISMATCH,
        "unknown tensors",
        _weights(lambda w: w.update({"\x1b[2J" + "x" * 500: np.zeros(1, "f4")})),
    ),
    "a tensor missing": Hostile(R.MODEL_SHAPE_MISMATCH, "lacks", _weights(lambda w: w.pop("logit_scale"))),
    "right shapes, wrong model": Hostile(R.MODEL_SHAPE_MISMATCH, "lacks tensors", _weights(_renamed)),
    "shapes of each other": Hostile(
        R.MODEL_SHAPE_MISMATCH, "text_projection", _weights(_right_shapes_of_another_model)
    ),
    "half precision": Hostile(R.MODEL_SHAPE_MISMATCH, "F16", _weights(_halve)),
    "the last weight of a tensor is no number": Hostile(R.MODEL_NOT_FINITE, "ln_post", _weights(_last_not_finite)),
    "an infinite temperature": Hostile(R.MODEL_NOT_FINITE, "logit_scale", _weights(_all_infinite)),
}
