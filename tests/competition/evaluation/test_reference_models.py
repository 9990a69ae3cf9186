"""Reference models: published weights from the Hub's cache, never a pickle, and clear words without them."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file

from competition.errors import EvaluationError, UsageError
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.reference_models import is_reference, load_reference

CPU = torch.device("cpu")
REVISION = "0" * 40
TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache of this test, with the Hub itself out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def publish(hub: Path, repository: str, file: str, weights: dict[str, torch.Tensor]) -> None:
    """Put a file into the cache as a download would."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    save_file(weights, folder / "snapshots" / REVISION / file)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model and a tag that open_clip knows, of a size for tests."""
    config = tmp_path / "reference-tiny.json"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    tag = {"hf_hub": "nobody/tiny/", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 1.0), "quick_gelu": True}
    tag |= {"interpolation": "bilinear", "resize_mode": "squash"}
    monkeypatch.setitem(_PRETRAINED, "reference-tiny", {"a_tag": tag})
    return "open_clip:reference-tiny/a_tag"


def test_open_clip_models_come_with_their_own_transform_and_activation(hub: Path, tiny: str) -> None:
    config = TINY | {"quick_gelu": True}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = open_clip.CLIP(**config).eval()
    publish(hub, "nobody/tiny", "open_clip_model.safetensors", model.state_dict())
    encoder = load_reference(tiny, CPU)
    assert isinstance(encoder, ClipEncoder)
    identity = encoder.preparation.identity
    assert (identity["transform"], identity["size"], identity["interpolation"]) == (
        "resize-both-centre-crop",
        16,
        "bilinear",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    images = (images - 0.5) / torch.tensor([0.25, 0.5, 1.0]).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = model.encode_image(images, normalize=True).numpy()
        texts = model.encode_text(open_clip.get_tokenizer("reference-tiny")(["a cat", "dogs"]), normalize=True).numpy()
    assert np.abs(encoder.encode_images(pixels) - expected).max() < 1e-5
    assert np.abs(encoder.encode_texts(["a cat", "dogs"]) - texts).max() < 1e-5


def test_the_global_random_state_stays_as_it_is(hub: Path, tiny: str) -> None:
    publish(hub, "nobody/tiny", "open_clip_model.safetensors", open_clip.CLIP(**TINY).state_dict())
    before = torch.random.get_rng_state()
    load_reference(tiny, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_timm_models_come_with_their_own_transform_and_classes(hub: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t.c3_in1k").eval()
    publish(hub, "timm/resnet10t.c3_in1k", "model.safetensors", model.state_dict())
    encoder = load_reference("timm:resnet10t.c3_in1k", CPU)
    assert isinstance(encoder, ImageEncoder)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    image = _photograph((250, 301))
    with torch.inference_mode():
        expected = model(transform(image)[None]).numpy()
    logits = encoder.class_logits(encoder.preparation(image)[None])
    assert logits.shape == (1, 1000)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def _photograph(size: tuple[int, int]):
    from competition.evaluation.images import decode_rgb
    from tests.competition.evaluation.test_sets import encoded

    return decode_rgb(encoded(size))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "'laion2b_s34b_b79k' of ViT-B-32 cannot be downloaded"),
        ("timm:resnet18.a1_in1k", "resnet18.a1_in1k cannot be downloaded"),
        ("timm:resnet18.a1_in1k", "LocalEntryNotFoundError"),
    ],
)
def test_without_weights_and_without_the_hub_there_is_a_clear_error(name: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        load_reference(name, CPU)
    assert "connection" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-B-32", "names no reference model"),
        ("open_clip:/tag", "names no reference model"),
        ("open_clip:ViT-B-32/", "names no reference model"),
        ("timm:", "names no reference model"),
        ("resnet18", "names no reference model"),
        ("open_clip:ViT-Z/openai", "no model 'ViT-Z'"),
        ("open_clip:ViT-B-32/nobody", "no weights 'nobody'"),
        ("timm:resnet18.nobody", "no model 'resnet18.nobody'"),
        ("timm:nobody", "no model 'nobody'"),
        ("timm:hf-hub:a/b", "'timm:hf-hub:a/b' names a place"),
        ("timm:hf_hub:a/b", "names a place"),
        ("timm:local-dir:/tmp", "names a place"),
        ("open_clip:hf-hub:a/b", "'open_clip:hf-hub:a/b' names a place"),
        ("open_clip:local-dir:/tmp/x", "names a place"),
        ("open_clip:ViT-B-32/hf-hub:a", "names a place"),
        ("timm:open_clip:hf-hub:a/b", "names a place"),
        ("timm:/tmp", "no model '/tmp'"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_reference(name, CPU)


def test_a_pickle_is_never_loaded(hub: Path, tiny: str) -> None:
    publish(hub, "nobody/tiny", "open_clip_pytorch_model.bin", {"a": torch.zeros(1)})
    with pytest.raises(EvaluationError, match="not published as safetensors"):
        load_reference(tiny, CPU)


def test_a_timm_model_of_which_nothing_is_published() -> None:
    with pytest.raises(EvaluationError, match="no safetensors weights of resnetblur18"):
        load_reference("timm:resnetblur18", CPU)


@pytest.mark.parametrize(
    ("name", "file", "repository"),
    [
        ("timm:resnet10t.c3_in1k", "model.safetensors", "timm/resnet10t.c3_in1k"),
        ("tiny", "open_clip_model.safetensors", "nobody/tiny"),
    ],
)
def test_weights_of_another_architecture(hub: Path, tiny: str, name: str, file: str, repository: str) -> None:
    publish(hub, repository, file, {"a": torch.zeros(1)})
    with pytest.raises(EvaluationError):
        load_reference(tiny if name == "tiny" else name, CPU)


def test_what_is_a_reference() -> None:
    assert is_reference("timm:resnet18")
    assert is_reference("open_clip:ViT-B-32/openai")
    assert not is_reference("runs/timm")
