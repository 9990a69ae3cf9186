"""Published models to compare entries with: ``open_clip:NAME/TAG`` and ``timm:NAME``.

Their weights come from the Hugging Face Hub, or from its cache on this machine, and only as safetensors: a pickle is
never loaded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from huggingface_hub import hf_hub_download
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from timm.data.config import resolve_data_config

from competition.errors import EvaluationError, UsageError
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.images import Preparation
from competition.evaluation.pixel_batches import Precision, default_device

_OPEN_CLIP, _TIMM = "open_clip:", "timm:"
_FORM_HINT = "For example open_clip:ViT-B-32/laion2b_s34b_b79k, or timm:resnet50.a1_in1k."
_CONNECTION_HINT = "Check the connection, or download it once into the Hub's cache on this machine."
_WEIGHTS_FILE = "model.safetensors"
_TRANSFORM = ("mean", "std", "interpolation", "resize_mode")


def is_reference(name: str) -> bool:
    """Whether a name means a published model, not a file or a folder."""
    return name.startswith((_OPEN_CLIP, _TIMM))


def check_reference(name: str) -> None:
    """Raise ``UsageError`` where a name is malformed, or there is no such model or tag; nothing is downloaded."""
    model, tag = _parts(name)
    if tag is not None:
        open_clip_tag(model, tag)
    else:
        _timm_configuration(model)


def load_reference(
    name: str, device: torch.device | None = None, precision: Precision = "fp32", weights: Path | None = None
) -> ClipEncoder | ImageEncoder:
    """A published model with its weights, in evaluation mode and with its own preparation of images.

    Args:
        name: ``open_clip:NAME/TAG`` as ``open_clip.list_pretrained`` has them, or ``timm:NAME`` as
            ``timm.list_pretrained`` does.
        device: the first GPU, or the CPU, when absent.
        precision: see ``ClipEncoder``.
        weights: a safetensors file to take instead of the published weights of that name.

    Raises:
        UsageError: the name is malformed or has a scheme such as ``hf-hub:``, or there is no such model or tag, or no
            such file.
        EvaluationError: the weights cannot be had, or not as safetensors, or do not fit, or the model prepares images
            in a way that is not known here.
    """
    where = device or default_device()
    if weights is not None:
        _check_file(weights)
    model, tag = _parts(name)
    if tag is not None:
        return _load_open_clip(model, tag, where, precision, weights)
    return _load_timm(model, where, precision, weights)


def reference_weights(name: str, weights: Path | None = None) -> Path:
    """The file of a reference model's weights: the one that is given, or the published, downloaded if need be.

    Raises:
        UsageError, EvaluationError: as ``load_reference``.
    """
    model, tag = _parts(name)
    if weights is not None:
        _check_file(weights)
        return weights
    if tag is not None:
        return open_clip_weights(model, tag, open_clip_tag(model, tag))
    return _timm_weights(model, _timm_configuration(model))


def _check_file(weights: Path) -> None:
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise UsageError(
            f"There is no safetensors file {weights}.",
            hint="Weights are read from a .safetensors file alone: a pickle is never loaded.",
        )


def _parts(name: str) -> tuple[str, str | None]:
    """Model and tag of open_clip, or timm's name of a model and nothing."""
    _require_no_scheme(name)
    model, slash, tag = name.removeprefix(_OPEN_CLIP).partition("/")
    if name.startswith(_OPEN_CLIP) and model and slash and tag:
        return model, tag
    if name.startswith(_TIMM) and name != _TIMM:
        return name.removeprefix(_TIMM), None
    raise UsageError(f"{name!r} names no reference model.", hint=_FORM_HINT)


def _require_no_scheme(name: str) -> None:
    """Both libraries take ``hf-hub:`` and ``local-dir:`` for models that others than they publish."""
    if ":" in name.removeprefix(_OPEN_CLIP).removeprefix(_TIMM):
        raise UsageError(
            f"{name!r} names a place, not a model that open_clip or timm publishes.",
            hint=f"{_FORM_HINT} A run of your own is named by its folder.",
        )


def open_clip_tag(model: str, tag: str) -> dict[str, Any]:
    """open_clip's configuration of the weights ``tag`` of a model.

    Raises:
        UsageError: open_clip has no such weights.
    """
    found: dict[str, Any] = get_pretrained_cfg(model, tag)
    if not found:
        tags = ", ".join(list_pretrained_tags_by_model(model)) or "none"
        raise UsageError(f"open_clip has no weights {tag!r} for {model}.", hint=f"It has: {tags}.")
    return found


def open_clip_weights(model: str, tag: str, found: dict[str, Any]) -> Path:
    """The file of a tag's weights, downloaded where it is not at hand.

    Raises:
        EvaluationError: they cannot be had, or not as safetensors.
    """
    try:
        path = Path(download_pretrained(found, prefer_hf_hub=True))
    except Exception as error:  # the Hub's client raises errors of many libraries
        raise EvaluationError(
            f"The weights {tag!r} of {model} cannot be downloaded: {type(error).__name__}.", hint=_CONNECTION_HINT
        ) from error
    if path.suffix != ".safetensors":
        raise EvaluationError(
            f"The weights {tag!r} of {model} are not published as safetensors.", hint="Choose other weights."
        )
    return path


def _load_open_clip(
    name: str, tag: str, device: torch.device, precision: Precision, weights: Path | None
) -> ClipEncoder:
    if open_clip.get_model_config(name) is None:
        raise UsageError(f"open_clip has no model {name!r}.", hint=_FORM_HINT)
    found = open_clip_tag(name, tag)
    if weights is None:
        open_clip_weights(name, tag, found)
    try:
        with torch.random.fork_rng(devices=[]):
            # The tag knows which activation it was trained with; the name alone may not.
            quick_gelu = bool(found.get("quick_gelu"))
            model = open_clip.create_model(
                name,
                pretrained=tag if weights is None else str(weights),
                force_quick_gelu=quick_gelu,
                force_preprocess_cfg={key: found[key] for key in _TRANSFORM if found.get(key) is not None},
                require_pretrained=True,
            )
        tokenize = open_clip.get_tokenizer(name)
    except Exception as error:  # transformers' tokenizers and towers raise errors of many libraries
        raise EvaluationError(
            f"open_clip {open_clip.__version__} cannot load {weights or f'{name}/{tag}'} as {name}: "
            f"{_first_line(error)}.",
            hint="Choose another model." if weights is None else "Name the model that the weights are of.",
        ) from error
    wanted = model.visual.preprocess_cfg
    preparation = _preparation(
        name, wanted["size"], None, wanted["interpolation"], {"shortest": False, "squash": True}, wanted["resize_mode"]
    )
    return ClipEncoder(
        model,
        None,
        device,
        precision=precision,
        tokenize=tokenize,
        preparation=preparation,
        mean=wanted["mean"],
        std=wanted["std"],
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")


def _timm_configuration(name: str) -> Any:
    try:
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(name, pretrained=False).pretrained_cfg
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"timm {timm.__version__} has no model {name!r}: {error}.", hint=_FORM_HINT) from error


def _load_timm(name: str, device: torch.device, precision: Precision, weights: Path | None) -> ImageEncoder:
    known = _timm_configuration(name)
    path = weights or _timm_weights(name, known)
    with torch.random.fork_rng(devices=[]):
        try:
            # The file is named in place of whatever else timm would choose by itself.
            overlay = {"file": str(path), "source": "", "custom_load": False}
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise EvaluationError(f"The weights {path} do not fit timm's {name}: {_first_line(error)}.") from error
    wanted: dict[str, Any] = resolve_data_config({}, model=model)  # type: ignore[no-untyped-call]
    preparation = _preparation(
        name,
        wanted["input_size"][1:],
        wanted["crop_pct"],
        wanted["interpolation"],
        {"center": False, "squash": True},
        wanted["crop_mode"],
    )
    return ImageEncoder(model, preparation, PixelStatistics(wanted["mean"], wanted["std"]), device, precision)


def _timm_weights(name: str, known: dict[str, Any]) -> Path:
    repository, _, revision = str(known.get("hf_hub_id") or "").partition("@")
    file = known.get("hf_hub_filename") or _WEIGHTS_FILE
    if not repository or not file.endswith(".safetensors"):
        raise EvaluationError(
            f"timm publishes no safetensors weights of {name}.",
            hint="Name a model with a tag, as in timm:resnet50.a1_in1k; `timm.list_pretrained()` has them all.",
        )
    try:
        return Path(hf_hub_download(repository, file, revision=revision or None))
    except Exception as error:  # the Hub's client raises errors of many libraries
        raise EvaluationError(
            f"The weights of timm's {name} cannot be downloaded: {type(error).__name__}.", hint=_CONNECTION_HINT
        ) from error


def _preparation(
    name: str, size: Any, crop: float | None, interpolation: str, squashes: dict[str, bool], mode: str
) -> Preparation:
    """The transform of square images: the shorter side, or both, at ``size / crop``, then the centre."""
    sides = set(size) if isinstance(size, list | tuple) else {size}
    if len(sides) != 1 or mode not in squashes:
        raise EvaluationError(
            f"{name} wants images of {size} pixels in the mode {mode!r}, which is not known here.",
            hint=f"Choose a model of square images in one of the modes {', '.join(squashes)}.",
        )
    (side,) = sides
    return Preparation(
        side, resize=math.floor(side / (crop or 1.0)), interpolation=interpolation, squash=squashes[mode]
    )
