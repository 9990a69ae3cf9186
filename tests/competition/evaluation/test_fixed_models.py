"""Fixed models are what protocols say: loaded once, from files that are checked, or one sentence says what to do."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from competition.errors import EvaluationError
from competition.evaluation import fixed_models
from competition.evaluation.converted_models import DINO_RN50, INCEPTION_2015, fill, inception_2015
from competition.evaluation.fixed_models import FixedModels, without_positions
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.image_models import build_image_model
from competition.evaluation.protocols.case import Encoder
from competition.rules.recipes import Backbone
from tests.competition.evaluation.entries import CPU, image_model

POOLED_BLOCKS = ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c")
PUBLISHED = (
    fixed_models.CLIP_B32,
    fixed_models.CLIP_B16,
    fixed_models.CLIP_L14_336,
    fixed_models.CLIP_RN50_WITHOUT_POSITIONS,
    fixed_models.VGG16,
)


def test_a_model_is_loaded_once() -> None:
    asked: list[str] = []

    def load(name: str) -> Encoder:
        asked.append(name)
        return image_model()

    models = FixedModels(load=load)
    first = models.encoder(fixed_models.VGG16)
    assert models.encoder(fixed_models.VGG16) is first
    assert models.encoder(fixed_models.CLIP_B32) is not first
    assert asked == [fixed_models.VGG16, fixed_models.CLIP_B32]
    with pytest.raises(EvaluationError, match="has no text tower"):
        models.clip(fixed_models.VGG16)


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_a_connection_one_sentence_names_the_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the name is one that open_clip or timm publishes: an unknown one would be refused before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EvaluationError, match="cannot be downloaded"):
        FixedModels(device=CPU).encoder(name)


@pytest.mark.parametrize("name", [DINO_RN50, INCEPTION_2015])
def test_converted_files_are_asked_for_by_their_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=f"not at {tmp_path / name}.safetensors") as raised:
        FixedModels(tmp_path, CPU).encoder(name)
    assert "docs/dataset-metrics.md" in str(raised.value.hint)


def test_dino_is_a_resnet_50_with_the_weights_of_its_file(tmp_path: Path) -> None:
    """Files of torch versions that do not count batches, and with a classifier, are the same model."""
    weights = build_image_model(Backbone(name="resnet50"), 0, seed=5).state_dict()
    kept = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    save_file(kept | {"fc.weight": torch.zeros(3, 2048)}, tmp_path / "dino_resnet50_pretrain.safetensors")
    encoder = FixedModels(tmp_path, CPU).encoder(DINO_RN50)
    assert isinstance(encoder, ImageEncoder)
    assert encoder.classes == 0
    assert encoder.preparation.identity == {
        "transform": "resize-shorter-centre-crop",
        "size": 224,
        "resize": 256,
        "interpolation": "bicubic",
        "pillow": encoder.preparation.identity["pillow"],
    }
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    plain = build_image_model(Backbone(name="resnet50"), 0, seed=5).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = plain((((torch.from_numpy(pixels) / 255) - mean) / std).permute(0, 3, 1, 2)).numpy()
    assert encoder.encode_images(pixels) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_inception_of_2015_is_torchvisions_with_other_poolings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision's network with a mean that leaves out the edge, and a greatest value at the end, is the reference."""
    from torchvision.models import inception

    model = inception_2015()
    torch.nn.init.constant_(model.fc.bias, 1e20)  # type: ignore[arg-type]
    save_file(model.state_dict(), tmp_path / f"{INCEPTION_2015}.safetensors")
    with torch.random.fork_rng():
        reference = inception.Inception3(num_classes=1008, aux_logits=False, init_weights=False).eval()
    reference.load_state_dict(model.state_dict())
    torch.nn.init.zeros_(reference.fc.bias)
    mean, last = functional.avg_pool2d, []

    def pooled(given: torch.Tensor, **options: int) -> torch.Tensor:
        last.append(len(last))
        if len(last) == len(POOLED_BLOCKS):
            return functional.max_pool2d(given, **options)
        return mean(given, **options, count_include_pad=False)

    encoder = FixedModels(tmp_path, CPU).encoder(INCEPTION_2015)
    assert isinstance(encoder, ImageEncoder)
    assert encoder.preparation.identity["transform"] == "resize-both-centre-crop"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3)).astype(np.uint8)
    features, logits = encoder.encode_images(pixels), encoder.class_logits(pixels)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255) * 2 - 1
    with torch.inference_mode():
        without = reference(images).numpy()
        monkeypatch.setattr(inception.F, "avg_pool2d", pooled)
        expected = reference(images).numpy()
    assert len(last) == len(POOLED_BLOCKS)
    assert features.shape == (1, 2048)
    near = 1e-4 * float(np.abs(expected).max())
    assert logits == pytest.approx(expected, rel=1e-3, abs=near)
    assert logits != pytest.approx(without, rel=1e-3, abs=near)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    model = build_image_model(Backbone(name="resnet18"), 0)
    weights = model.state_dict()
    path = tmp_path / "weights.safetensors"
    for broken in (
        {name: value for name, value in weights.items() if name != "layer1.0.conv1.weight"},
        weights | {"layer1.0.conv1.weight": torch.zeros(2, 2)},
        weights | {"more": torch.zeros(1)},
    ):
        save_file(broken, path)
        with pytest.raises(EvaluationError, match=r"'(layer1\.0\.conv1\.weight|more)' differs"):
            fill(model, path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(EvaluationError, match="cannot be read"):
        fill(model, path)


def test_without_positions_the_places_of_an_image_are_alike() -> None:
    """CLIP-IQA's model pools its map without knowing where anything is: a rolled map has the same feature."""
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval()
        width = model.visual.attnpool.positional_embedding.shape[1]
        found = torch.randn(1, width, 2, 2)
    rolled = torch.roll(found, 1, dims=3)
    pool = model.visual.attnpool
    with torch.inference_mode():
        assert not torch.allclose(pool(found), pool(rolled), atol=1e-4)
    without_positions(model)
    with torch.inference_mode():
        assert torch.allclose(pool(found), pool(rolled), atol=1e-5)
