"""What a competition fixes, as frozen models. A competition file (YAML) holds exactly these fields.

Digests of recipes and suites (sha256 of their canonical JSON) travel with every artefact, so that a result always
says under which rules it was obtained.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from competition.canonical import digest
from competition.errors import UsageError
from competition.rules.base import Identifier, Prose, Rule, Sha256, Title
from competition.rules.inconsistency import known, unique, wrong
from competition.rules.own_data import Contamination, Descriptor, EntryData, ExternalLimits
from competition.rules.recipes import ClipRecipe, Recipe
from competition.rules.suites import Suite


class EntryKind(StrEnum):
    """What an entry is, and so which files it has and how it is scored."""

    MODEL = "model"
    """A subset of the scale's pool, and the model that was trained on it by the scale's recipe."""
    PREDICTIONS = "predictions"
    """Five best classes of every test image, of any model; the model itself is not entered."""


class Track(Rule):
    """A way of taking part, such as filtering the given pool."""

    id: Identifier
    title: Title
    description: Prose = ""
    entry: EntryKind = Field(
        default=EntryKind.MODEL,
        exclude_if=lambda kind: kind == EntryKind.MODEL,  # competitions of before keep their digests
        description="what an entry of the track is",
    )
    data: EntryData = Field(
        default=EntryData.POOL,
        exclude_if=lambda data: data == EntryData.POOL,
        description="where the samples come from that an entry's model was trained on",
    )


class Pool(Rule):
    """The samples an entry chooses from."""

    id: Identifier
    samples: int = Field(gt=0)
    uids_sha256: Sha256 | None = Field(default=None, description="sha256 of the sorted uid array's bytes (u8,u8)")
    descriptor: Descriptor | None = Field(
        default=None,
        exclude_if=lambda descriptor: descriptor is None,
        description="what the member dedup of its features is, if test images can be described alike",
    )


class Scale(Rule):
    """A size of the competition: its pool and its recipe, as far as the competition fixes them."""

    id: Identifier
    title: Title
    description: Prose = ""
    pool: Pool | None = Field(default=None, description="absent where entries bring samples of their own")
    recipe: Identifier | None = Field(default=None, description="absent where nothing is trained")

    @property
    def given_pool(self) -> Pool:
        """The pool that entries choose from (raises ``UsageError`` where the scale gives none)."""
        if self.pool is None:
            raise UsageError(
                f"Scale {self.id!r} has no pool: its entries bring samples of their own.",
                hint="Only a scale with a pool has subsets of it.",
            )
        return self.pool


class Quota(Rule):
    """How many entries an account may have. None = as many as it likes.

    An entry counts from when it is received. One that ends invalid, failed or cancelled counts no longer; too many
    invalid ones on one day have a bound of their own, since each costs the organisers a download.
    """

    per_day: int | None = Field(default=None, gt=0, description="entries received on one day (UTC)")
    total: int | None = Field(default=None, gt=0, description="entries of the whole phase")
    invalid_per_day: int = Field(default=100, gt=0, description="entries received on one day that ended invalid")


class Phase(Rule):
    """When entries are taken, in UTC to the second, and how many of an account."""

    id: Identifier
    title: Title
    opens: AwareDatetime
    closes: AwareDatetime | None = None
    quota: Quota = Field(
        default=Quota(),
        exclude_if=lambda quota: quota == Quota(),  # competitions of before keep their digests
        description="how many entries an account may have in the phase",
    )

    def open_at(self, moment: datetime) -> bool:
        """Whether it takes entries then: from its opening second on, until before its closing one."""
        return self.opens <= moment and (self.closes is None or moment < self.closes)


class Limits(Rule):
    """Bounds on what an entry may hold; everything from a participant is hostile until checked."""

    files: int = Field(default=64, gt=0)
    file_bytes: int = Field(default=2 * 2**30, gt=0)
    total_bytes: int = Field(default=4 * 2**30, gt=0)
    subset_uids: int = Field(default=10_000_000, gt=0, description="uids of a subset, repeats counted")
    external: ExternalLimits = Field(
        default=ExternalLimits(), exclude_if=lambda limits: limits == ExternalLimits(), description="of own data"
    )


class Competition(Rule):
    """One competition, whole: what is fixed, what is entered, how it is scored."""

    schema_version: Literal[1]
    id: Identifier
    version: int = Field(ge=1)
    title: Title
    summary: Prose
    description: Prose = ""
    notice: Prose = Field(default="", description="what readers must know to read the results rightly")
    tracks: tuple[Track, ...] = Field(min_length=1)
    scales: tuple[Scale, ...] = Field(min_length=1)
    recipes: tuple[Recipe, ...] = Field(
        default=(), description="of any kind; a file may name one of the catalogue instead of writing it out"
    )
    suite: Suite = Field(description="a file may name one of the catalogue, as in datacomp-38@1")
    phases: tuple[Phase, ...] = Field(min_length=1)
    limits: Limits = Limits()
    contamination: Contamination = Field(
        default=Contamination(),
        exclude_if=lambda rule: rule == Contamination(),
        description="how much of the evaluation an entry's data may hold",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique("tracks", [track.id for track in self.tracks])
        unique("scales", [scale.id for scale in self.scales])
        recipes = unique("recipes", [recipe.id for recipe in self.recipes])
        unique("phases", [phase.id for phase in self.phases])
        for number, scale in enumerate(self.scales):
            if scale.recipe is not None:
                known(scale.recipe, recipes, "scales", number, "recipe")
        for number, track in enumerate(self.tracks):
            if track.entry is EntryKind.PREDICTIONS and track.data is EntryData.OWN:
                raise wrong("entries of predictions have no data of their own", "tracks", number, "data")
        for number, phase in enumerate(self.phases):
            if phase.closes is not None and phase.closes <= phase.opens:
                raise wrong("the phase closes before it opens", "phases", number, "closes")
        return self

    @property
    def digest(self) -> str:
        """Identity of the whole competition file."""
        return digest(self.model_dump(mode="json"))

    def recipe_of(self, scale: Scale) -> Recipe:
        """The recipe that the scale trains (raises ``UsageError`` where nothing is trained)."""
        if scale.recipe is None:
            raise UsageError(
                f"Scale {scale.id!r} of competition {self.id!r} trains nothing.",
                hint=f"`datacup suites show {self.suite.reference}` says what is evaluated instead.",
            )
        return {recipe.id: recipe for recipe in self.recipes}[scale.recipe]

    def training_digest(self, scale: Scale) -> str:
        """Identity of what the scale trains: its recipe's digest, or that of null where nothing is trained.

        Entries and standings of a scale carry it, so that results under different recipes never mix.
        """
        return digest(None) if scale.recipe is None else self.recipe_of(scale).digest

    def clip_recipe_of(self, scale: Scale) -> ClipRecipe:
        """The recipe that the scale trains, for what needs a CLIP model: entries, their checks, zero-shot tasks.

        Raises ``UsageError`` where it trains nothing or a model of another kind.
        """
        return require_clip(self.recipe_of(scale))


def require_clip(recipe: Recipe) -> ClipRecipe:
    """The recipe, known to train a CLIP model (raises ``UsageError`` where it trains one of another kind)."""
    if isinstance(recipe, ClipRecipe):
        return recipe
    raise UsageError(
        f"Recipe {recipe.id!r} trains a {recipe.kind} model, and this version of DataCup enters and scores CLIP "
        f"models only.",
        hint="It can be trained with `datacup train --recipe`. `datacup recipe list` shows which recipes train CLIP.",
    )
