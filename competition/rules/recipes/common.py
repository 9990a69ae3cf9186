"""What recipes of every kind share: provenance, precision, and how much is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from competition.canonical import digest
from competition.rules.base import Identifier, Probability, Prose, Rule
from competition.rules.inconsistency import known, wrong

Precision = Literal["fp32", "amp_fp16", "amp_bf16"]
"""``amp_*`` is torch's automatic mixed precision; ``amp_fp16`` scales the loss against underflow."""

Option = bool | int | float | str | tuple[int, ...]
TimmName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([_.][a-z0-9]+)*$", max_length=80)]
_BACKBONE_OPTIONS = {
    "block_size", "channels", "depth", "drop_path_rate", "drop_rate", "dynamic_img_size", "embed_dim", "img_size",
    "init_values", "layers", "mlp_ratio", "num_heads", "patch_size", "stem_type", "stem_width", "zero_init_last",
}  # fmt: skip


class Backbone(Rule):
    """An image model of timm, built from scratch: its name and what it is built with."""

    name: TimmName
    options: dict[str, Option] = Field(default_factory=dict, description="keyword arguments of timm.create_model")

    @model_validator(mode="after")
    def _permitted(self) -> Self:
        for key in self.options:
            known(key, _BACKBONE_OPTIONS, "options", key)
        return self


class SamplesSeen(Rule):
    """A fixed number of samples, whatever the size of the data."""

    kind: Literal["samples"] = "samples"
    samples: int = Field(gt=0)


class Epochs(Rule):
    """A fixed number of passes over the data, each sample counted as often as it is there."""

    kind: Literal["epochs"] = "epochs"
    epochs: int = Field(gt=0)


class CoresetEpochs(Rule):
    """SimCore's rule for coresets of unknown size: about ``draws`` draws of the coreset, at most ``epochs`` passes.

    Epochs = min(``epochs``, floor(``draws`` / samples of the coreset)), and at least one, the coreset being all
    sources behind the first; a single source is trained for ``epochs``.
    """

    kind: Literal["coreset_epochs"] = "coreset_epochs"
    epochs: int = Field(gt=0)
    draws: int = Field(gt=0)


Budget = Annotated[SamplesSeen | Epochs | CoresetEpochs, Field(discriminator="kind")]


class BaseRecipe(Rule):
    """Fields and sums of every recipe."""

    id: Identifier
    title: Prose = ""
    global_batch: int = Field(gt=1, description="samples of one step, over all devices")
    precision: Precision = "fp32"
    tf32: bool = Field(default=False, description="matrix products and convolutions of float32 may use TF32 on a GPU")
    corrupt_tolerance: Probability = Field(default=0.0, description="share of undecodable samples that stops training")
    sources: dict[str, Prose] = Field(
        default_factory=dict,
        description="where each number comes from, by field (`optimizer.beta2`, or `optimizer` for all within; `*` for "
        "the rest); explains the recipe and is no part of its digest",
    )

    @model_validator(mode="after")
    def _sources_of_fields(self) -> Self:
        fields = set(self.parameters())
        for name in self.sources:
            if name != "*" and name not in fields and not any(field.startswith(f"{name}.") for field in fields):
                raise wrong("names no field of this recipe", "sources", name)
        return self

    @property
    def digest(self) -> str:
        """Identity of what is trained."""
        return digest(self.model_dump(mode="json", exclude={"sources", "title"}))

    def parameters(self) -> dict[str, Any]:
        """Every hyper-parameter by its dotted name, as in ``optimizer.beta2``."""
        return dict(_flat(self.model_dump(mode="json", exclude={"sources", "title", "id", "kind"})))

    def source(self, parameter: str) -> str | None:
        """Where a hyper-parameter comes from: the entry of its longest prefix."""
        parts = parameter.split(".")
        names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        return next((self.sources[name] for name in [*names, "*"] if name in self.sources), None)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", value))
    return flat


def epochs_of(budget: Epochs | CoresetEpochs, source_samples: tuple[int, ...]) -> int:
    """Passes over data whose sources have so many samples."""
    coreset = sum(source_samples[1:])
    if isinstance(budget, CoresetEpochs) and coreset:
        return max(1, min(budget.epochs, budget.draws // coreset))
    return budget.epochs
