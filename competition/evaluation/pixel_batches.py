"""From stored pixels to what a network takes: normalised batches, read ahead of it, and features by batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from competition.errors import ModelOutputError

Precision = Literal["fp32", "bf16"]
"""``fp32`` is true float32; ``bf16`` is torch's automatic mixed precision, for GPUs."""

_GPU_BATCH, _CPU_BATCH = 256, 64


def normalise_pixels(
    pixels: torch.Tensor, mean: Sequence[float] = OPENAI_DATASET_MEAN, std: Sequence[float] = OPENAI_DATASET_STD
) -> torch.Tensor:
    """uint8 RGB [N, H, W, 3] to float32 [N, 3, H, W] with a mean and a standard deviation of each channel.

    The same operations in the same order as torchvision's ``ToTensor`` and ``Normalize``, so the same bits. Pixels
    that are a view of [N, 3, H, W] are read as they lie.
    """
    means = torch.tensor(tuple(mean), device=pixels.device).view(1, 3, 1, 1)
    stds = torch.tensor(tuple(std), device=pixels.device).view(1, 3, 1, 1)
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return planes.div_(255).sub_(means).div_(stds)


def features_of(
    forward: Callable[[torch.Tensor], torch.Tensor],
    pixels: NDArray[np.uint8],
    device: torch.device,
    batch: int | None = None,
) -> NDArray[np.float32]:
    """What ``forward`` makes of uint8 batches [B, S, S, 3], as rows [N, D]; pixels in memory are a few batches' only.

    Raises:
        ModelOutputError: a feature is not finite.
    """
    size = batch or (_GPU_BATCH if device.type == "cuda" else _CPU_BATCH)
    rows = np.empty((0, 0), dtype=np.float32)
    for start, chunk in _read_ahead(pixels, size, device):
        found = forward(chunk).float().cpu().numpy()
        if not rows.size:
            rows = np.empty((len(pixels), found.shape[1]), dtype=np.float32)
        rows[start : start + len(found)] = found
    return finite(rows, "image")


def _read_ahead(pixels: NDArray[np.uint8], size: int, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Batches on the device; a thread reads the next one from the disk meanwhile."""

    def read(start: int) -> torch.Tensor:
        # `order="K"` keeps [N, 3, S, S] as it lies on the disk.
        chunk = torch.from_numpy(np.array(pixels[start : start + size], order="K"))
        return chunk.pin_memory() if device.type == "cuda" else chunk

    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, 0)
        for start in range(0, len(pixels), size):
            chunk = following.result()
            if start + size < len(pixels):
                following = reader.submit(read, start + size)
            yield start, chunk.to(device, non_blocking=True)


@contextmanager
def inference(device: torch.device, precision: Precision = "fp32") -> Iterator[None]:
    """No gradients, and the precision that is named: by default a GPU's convolutions would round to TF32."""
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), true_float32(), mixed:
        yield


@contextmanager
def true_float32() -> Iterator[None]:
    """Convolutions of GPUs in float32 as it is; cuDNN stays in use, which ``flags`` alone would switch off."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def finite(features: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """The features [N, D] themselves (raises ``ModelOutputError`` when one is not finite)."""
    if not np.isfinite(features).all():
        position = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise ModelOutputError(
            f"The model yields a {kind} feature that is not finite (query {position}).",
            hint="Training diverged (NaN or infinity): check the data and train again.",
        )
    return features


def default_device() -> torch.device:
    """The first GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
