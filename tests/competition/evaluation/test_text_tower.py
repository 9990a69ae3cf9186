"""Prompts cut at their end have the features that the whole context gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from competition.evaluation.encoders import ClipEncoder, build_clip, tokenizer
from competition.evaluation.text_tower import encode_text, text_batches
from competition.rules.recipes import ClipArchitecture

CPU = torch.device("cpu")
CONTEXT = 40
PROMPTS = [
    "a",
    "a photo of a cat.",
    "",
    "a satellite photo of the annual crop land, taken in the early morning light.",
    "many words " * 30,  # longer than the context
    "a photo of a dog.",
    "größe, 日本語",
]


def make_clip(**text: Any) -> tuple[open_clip.CLIP, ClipArchitecture]:
    architecture = ClipArchitecture(
        name="tiny",
        embed_dim=24,
        vision={"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
        text={"context_length": CONTEXT, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 4} | text,
    )
    model = build_clip(architecture, 3).eval()
    with torch.no_grad():  # fresh ones are so small that no position would matter
        model.positional_embedding.normal_(generator=torch.Generator().manual_seed(0))
        model.token_embedding.weight.normal_(generator=torch.Generator().manual_seed(1))
    return model, architecture


def whole(model: open_clip.CLIP, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        return model.encode_text(tokenizer(CONTEXT)(texts), normalize=True).numpy()


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"proj_bias": True},
        {"proj_type": "none"},
        {"pool_type": "eos", "eos_id": 49407},
        {"pool_type": "last"},
        {"pool_type": "first"},
        {"no_causal_mask": True},
        {"no_causal_mask": True, "pool_type": "first"},
        {"ls_init_value": 0.5},
    ],
)
def test_features_are_those_of_the_whole_context(text: dict[str, Any]) -> None:
    model, architecture = make_clip(**text)
    ours = ClipEncoder(model, architecture, CPU).encode_texts(PROMPTS)
    assert np.abs(ours - whole(model, PROMPTS)).max() <= 1e-5
    assert ours.dtype == np.float32


@pytest.mark.parametrize(
    ("pool", "cut"),
    [
        ({}, True),
        ({"pool_type": "eos", "eos_id": 49407}, True),
        ({"pool_type": "last"}, False),
        ({"no_causal_mask": True}, False),
    ],
)
def test_only_what_is_causal_and_pools_at_the_end_is_cut(pool: dict[str, Any], cut: bool) -> None:
    model, _ = make_clip(**pool)
    tokens = tokenizer(CONTEXT)(["a photo of a cat.", "a"])
    ((positions, chunk),) = text_batches(model, tokens)
    assert chunk.shape[1] == (8 if cut else CONTEXT)  # start, five words, a full stop, end
    assert sorted(positions.tolist()) == [0, 1]


def test_a_cut_before_the_end_would_be_seen() -> None:
    model, _ = make_clip()
    tokens = tokenizer(CONTEXT)(["a photo of a cat."])
    with torch.inference_mode():
        right, wrong = encode_text(model, tokens[:, :8]), encode_text(model, tokens[:, :7])
    assert (right - wrong).abs().max() > 1e-3


def test_every_prompt_is_in_one_batch_and_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("competition.evaluation.text_tower._TOKENS_AT_A_TIME", 64)
    model, architecture = make_clip()
    texts = PROMPTS * 5
    batches = list(text_batches(model, tokenizer(CONTEXT)(texts)))
    assert sorted(position for positions, _ in batches for position in positions.tolist()) == list(range(len(texts)))
    assert all(chunk.numel() <= 64 for _, chunk in batches)
    assert len(batches) > 5
    assert np.abs(ClipEncoder(model, architecture, CPU).encode_texts(texts) - whole(model, texts)).max() <= 1e-5


def test_models_of_another_class_are_run_whole() -> None:
    _, architecture = make_clip()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(**architecture.open_clip_config()).eval()
    ours = ClipEncoder(model, architecture, CPU).encode_texts(PROMPTS)
    with torch.inference_mode():
        expected = model.encode_text(tokenizer(CONTEXT)(PROMPTS), normalize=True).numpy()
    assert np.abs(ours - expected).max() <= 1e-6
