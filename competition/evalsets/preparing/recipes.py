"""Which set is made of what: SELECT's 11 transfer tasks, SimCore's 11 targets, GenBench's 22 sets, WinoGAViL.

Parts, splits and sizes are those that the systems' programs and papers state (SELECT, arXiv 2410.05057; SimCore, arXiv
2303.11101; GenBench, whose sets but two are ELEVATER's, arXiv 2204.08790). A size that none states is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from competition.errors import UsageError
from competition.rules import all_suites


class Format(StrEnum):
    """In what a set lies on disk. The first four are for any set, the others for the one that is published so."""

    TORCHVISION = "torchvision"
    IMAGE_FOLDER = "image-folder"
    HUGGING_FACE = "hugging-face"
    ELEVATER = "elevater"
    CUB = "cub-200-2011"
    STANFORD_DOGS = "stanford-dogs"
    STANFORD_40 = "stanford-40"
    MIT_67 = "mit-67"
    FOOD_11 = "food-11"
    WINOGAVIL = "winogavil"


ANY_SET = (Format.IMAGE_FOLDER, Format.HUGGING_FACE, Format.ELEVATER)
Splits = Mapping[str, tuple[str, ...]]

_NO_SIZES: Mapping[str, int] = MappingProxyType({})
_TRAIN_TEST: Splits = MappingProxyType({"train": ("train",), "test": ("test",)})
_TRAIN_VAL_TEST: Splits = MappingProxyType({"train": ("train",), "val": ("val",), "test": ("test",)})


@dataclass(frozen=True)
class SetRecipe:
    """How a set is made.

    Args:
        name: of the set.
        format: what it is usually made of.
        dataset: torchvision's class, for that format.
        splits: the splits of the source that each part is made of, in this order.
        options: further arguments of torchvision's class.
        random_split: the source has no split: four fifths by a permutation of a generator of PyTorch's default seed
            are train, the others test, as in SELECT's program.
        colour_only: images that are not stored in RGB are left out (and counted).
        classes: how many there are.
        sizes: images of the parts, where they are stated; that of ``test`` is the suites'.
    """

    name: str
    format: Format
    dataset: str = ""
    splits: Splits = field(default_factory=lambda: _TRAIN_TEST)
    options: Mapping[str, object] = field(default_factory=dict)
    random_split: bool = False
    colour_only: bool = False
    classes: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)


def find_recipe_of_set(name: str) -> SetRecipe:
    """The recipe of a set (raises ``UsageError`` with the sets there are)."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise UsageError(
        f"There is no recipe for an evaluation set {name!r}.",
        hint=f"Sets that can be prepared are: {', '.join(recipe.name for recipe in RECIPES)}.",
    )


def stated_sizes(recipe: SetRecipe) -> dict[str, int]:
    """Images of each part, where they are stated: of the test part by the tasks of the suites."""
    stated = {
        task.samples
        for suite in all_suites().values()
        for task in suite.tasks
        if task.dataset == recipe.name and task.samples is not None
    }
    test = {"test": stated.pop()} if len(stated) == 1 else {}
    return {**recipe.sizes, **test}


def _torchvision(
    name: str, dataset: str, classes: int, splits: Splits = _TRAIN_TEST, *, sizes: Mapping[str, int] = _NO_SIZES
) -> SetRecipe:
    return SetRecipe(name, Format.TORCHVISION, dataset, splits, classes=classes, sizes=sizes)


def _random(name: str, dataset: str, classes: int, *, colour_only: bool = False) -> SetRecipe:
    return SetRecipe(
        name,
        Format.TORCHVISION,
        dataset,
        {"all": ("all",)},
        random_split=True,
        colour_only=colour_only,
        classes=classes,
    )


def _elevater(name: str, classes: int, train: int, val: int | None = None) -> SetRecipe:
    sizes = {"train": train} | ({"val": val} if val is not None else {})
    splits = _TRAIN_TEST if val is None else _TRAIN_VAL_TEST
    return SetRecipe(name, Format.ELEVATER, splits=splits, classes=classes, sizes=sizes)


_TRAIN_AND_VAL: Splits = MappingProxyType({"train": ("train", "val"), "test": ("test",)})
_TRAINVAL: Splits = MappingProxyType({"train": ("trainval",), "test": ("test",)})

_SELECT = (
    _random("select-caltech256", "Caltech256", 257, colour_only=True),
    _torchvision("select-svhn", "SVHN", 10, sizes={"train": 73257}),
    _torchvision("select-dtd", "DTD", 47, sizes={"train": 1880}),
    _random("select-eurosat", "EuroSAT", 10),
    _torchvision("select-flowers102", "Flowers102", 102, sizes={"train": 1020}),
    _torchvision("select-country211", "Country211", 211, sizes={"train": 31650}),
    _torchvision("select-fgvcaircraft", "FGVCAircraft", 100, sizes={"train": 3334}),
    _torchvision("select-gtsrb", "GTSRB", 43, sizes={"train": 26640}),
    _torchvision("select-renderedsst2", "RenderedSST2", 2, sizes={"train": 6920}),
    _torchvision("select-lfwpeople", "LFWPeople", 5749),
    _random("select-sun397", "SUN397", 397),
)

_SIMCORE = (
    _torchvision("simcore-aircraft", "FGVCAircraft", 100, _TRAINVAL, sizes={"train": 6667}),
    _torchvision("simcore-cars", "StanfordCars", 196, sizes={"train": 8144}),
    _torchvision("simcore-pet", "OxfordIIITPet", 37, _TRAINVAL, sizes={"train": 3680}),
    SetRecipe("simcore-birds", Format.CUB, colour_only=True, classes=200, sizes={"train": 5990}),
    SetRecipe("simcore-dogs", Format.STANFORD_DOGS, classes=120, sizes={"train": 12000}),
    _torchvision("simcore-flowers", "Flowers102", 102, _TRAIN_AND_VAL, sizes={"train": 2040}),
    SetRecipe("simcore-action", Format.STANFORD_40, classes=40, sizes={"train": 4000}),
    SetRecipe("simcore-indoor", Format.MIT_67, classes=67, sizes={"train": 5360}),
    _torchvision("simcore-textures", "DTD", 47, _TRAIN_AND_VAL, sizes={"train": 3760}),
    SetRecipe("simcore-faces", Format.IMAGE_FOLDER, classes=307, sizes={"train": 4263}),
    SetRecipe("simcore-food11", Format.FOOD_11, splits=_TRAIN_AND_VAL, classes=11, sizes={"train": 13296}),
)

_GENBENCH = (
    _elevater("genbench-caltech-101", 102, 3060),
    _torchvision("genbench-cifar-10", "CIFAR10", 10, sizes={"train": 50000}),
    _torchvision("genbench-cifar-100", "CIFAR100", 100, sizes={"train": 50000}),
    _torchvision(
        "genbench-country211",
        "Country211",
        211,
        {"train": ("train",), "val": ("valid",), "test": ("test",)},
        sizes={"train": 31650, "val": 10550},
    ),
    _torchvision("genbench-dtd", "DTD", 47, _TRAIN_VAL_TEST, sizes={"train": 1880, "val": 1880}),
    _elevater("genbench-eurosat-clip", 10, 5000, 5000),
    _elevater("genbench-fer-2013", 7, 28709, 3589),
    _torchvision(
        "genbench-fgvc-aircraft-2013b-variants102",
        "FGVCAircraft",
        100,
        _TRAIN_VAL_TEST,
        sizes={"train": 3334, "val": 3333},
    ),
    _torchvision("genbench-food-101", "Food101", 101, sizes={"train": 75750}),
    _elevater("genbench-gtsrb", 43, 26640, 12569),
    _elevater("genbench-hateful-memes", 2, 8500),
    _elevater("genbench-kitti-distance", 4, 6347, 423),
    _torchvision("genbench-mnist", "MNIST", 10, sizes={"train": 60000}),
    _torchvision("genbench-oxford-flower-102", "Flowers102", 102, _TRAIN_VAL_TEST, sizes={"train": 1020, "val": 1020}),
    _torchvision(
        "genbench-oxford-iiit-pets",
        "OxfordIIITPet",
        37,
        _TRAINVAL,
        sizes={"train": 3680},
    ),
    _torchvision("genbench-patch-camelyon", "PCAM", 2, _TRAIN_VAL_TEST, sizes={"train": 262144, "val": 32768}),
    _elevater("genbench-rendered-sst2", 2, 6920, 827),
    _elevater("genbench-resisc45-clip", 45, 3150, 3150),
    _torchvision("genbench-stanford-cars", "StanfordCars", 196, sizes={"train": 8144}),
    _elevater("genbench-voc-2007-classification", 20, 2501, 2510),
    _elevater("genbench-sun397", 397, 19850, 19850),
    SetRecipe("genbench-imagenet-1k", Format.IMAGE_FOLDER, splits={"test": ("test",)}, classes=1000),
)

RECIPES: tuple[SetRecipe, ...] = (
    *_SELECT,
    *_SIMCORE,
    *_GENBENCH,
    SetRecipe("winogavil", Format.WINOGAVIL, splits={"test": ("test",)}),
)
