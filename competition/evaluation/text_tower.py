"""CLIP's text tower without the padding behind a prompt's end.

A causal tower pools the feature at the end-of-text token, which sees nothing that comes after it. So a batch is cut
behind the longest prompt's end, and prompts of like length share a batch: the same numbers up to rounding, at a
fraction of the work (a prompt has about ten tokens of CLIP's 77).
"""

from __future__ import annotations

from collections.abc import Iterator

import open_clip
import torch
from open_clip.transformer import text_global_pool
from torch.nn import functional

_TOKENS_AT_A_TIME = 8192


def text_batches(model: torch.nn.Module, tokens: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of prompts: their positions int64 [B] in ``tokens`` [N, L], and their tokens [B, up to L].

    For a model that is not causal, or pools otherwise, the prompts stay in order and whole.
    """
    lengths = _lengths(model, tokens)
    order = torch.argsort(lengths, stable=True)
    ordered = lengths[order].tolist()
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered) and (stop + 1 - start) * ordered[stop] <= _TOKENS_AT_A_TIME:
            stop += 1
        positions = order[start:stop]
        yield positions, tokens[positions, : ordered[stop - 1]]
        start = stop


def encode_text(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """L2-normalised features [B, D] of tokens [B, L], where L may be less than the model's context if it is causal."""
    if not _is_cut(model):
        features: torch.Tensor = model.encode_text(tokens, normalize=True)  # type: ignore[operator]
        return features
    assert isinstance(model, open_clip.CLIP)
    length = tokens.shape[1]
    # open_clip's own steps, its `CLIP.encode_text`, with position and mask of the tokens that are there.
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.transformer(hidden, attn_mask=model.attn_mask[:length, :length])
    pooled = text_global_pool(model.ln_final(hidden), tokens, model.text_pool_type, eos_token_id=model.text_eos_id)
    projection = model.text_projection
    if isinstance(projection, torch.nn.Linear):
        pooled = projection(pooled)
    elif projection is not None:
        pooled = pooled @ projection
    normalised: torch.Tensor = functional.normalize(pooled, dim=-1)
    return normalised


def _is_cut(model: torch.nn.Module) -> bool:
    return isinstance(model, open_clip.CLIP) and model.attn_mask is not None and model.text_pool_type in _ENDS


def _by_largest(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:  # noqa: ARG001 - one of two kinds
    return tokens.argmax(dim=1)


def _by_name(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    ends: torch.Tensor = (tokens == model.text_eos_id).int().argmax(dim=1)
    return ends


# Where open_clip's ways of pooling look for a prompt's end.
_ENDS = {"argmax": _by_largest, "eos": _by_name}


def _lengths(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of each prompt [N] that its feature depends on."""
    if not _is_cut(model):
        return torch.full((len(tokens),), tokens.shape[1])
    assert isinstance(model, open_clip.CLIP)
    ends: torch.Tensor = _ENDS[model.text_pool_type](model, tokens)
    return ends + 1
