"""Which set is made of what: SELECT's 11 transfer tasks and what it reads as published, SimCore's 11 targets,
GenBench's 22 sets, DataComp's two of captions and WinoGAViL, and the labels of ImageNetV2's four.

Parts, splits and sizes are those that the systems' programs and papers state (SELECT, arXiv 2410.05057; SimCore, arXiv
2303.11101; GenBench, whose sets but two are ELEVATER's, arXiv 2204.08790, and its registry's vision_datasets.json). A
size that none states is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from competition.errors import UsageError
from competition.evalsets.open_sets import find_open_set
from competition.evalsets.sources import HUB_PREFIX
from competition.rules import all_suites


class Kind(StrEnum):
    """What is known of an image."""

    CLASSES = "classes"
    SEVERAL_CLASSES = "several-classes"
    CAPTIONS = "captions"
    CLASSES_ALONE = "classes-alone"
    """Its class; there is no image."""
    INSTANCES = "instances"
    """Its name, by which instances (a cue and its candidates) have it."""


class Format(StrEnum):
    """In what a set lies on disk. The first four are for many sets, the others for those that are published so."""

    TORCHVISION = "torchvision"
    IMAGE_FOLDER = "image-folder"
    HUGGING_FACE = "hugging-face"
    ELEVATER = "elevater"
    CUB = "cub-200-2011"
    STANFORD_DOGS = "stanford-dogs"
    STANFORD_40 = "stanford-40"
    MIT_67 = "mit-67"
    FOOD_11 = "food-11"
    VOC_2007 = "voc-2007"
    CAPTIONS_CSV = "captions-csv"
    KARPATHY = "karpathy"
    IMAGENET_C = "imagenet-c"
    OBJECTNET = "objectnet"
    STYLIZED_IMAGENET = "stylized-imagenet"
    IMAGENET_V2 = "imagenetv2"
    WINOGAVIL = "winogavil"


AS_PUBLISHED = (Format.IMAGENET_C, Format.OBJECTNET, Format.STYLIZED_IMAGENET)
"""Formats that protocols read as they are: such a set is checked and linked into its place, not turned into shards."""

_OF_KIND = {
    Kind.CLASSES: (Format.IMAGE_FOLDER, Format.HUGGING_FACE, Format.ELEVATER),
    Kind.SEVERAL_CLASSES: (Format.HUGGING_FACE, Format.ELEVATER),
    Kind.CAPTIONS: (Format.HUGGING_FACE,),
    Kind.CLASSES_ALONE: (),
    Kind.INSTANCES: (),
}
Splits = Mapping[str, tuple[str, ...]]

_NO_SIZES: Mapping[str, int] = MappingProxyType({})
_TEST: Splits = MappingProxyType({"test": ("test",)})
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
        kind: what is known of an image.
        also: further formats, beside the usual one and those of its kind.
        index: what ELEVATER's index of a split is called, where that is not after the split.
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
    kind: Kind = Kind.CLASSES
    also: tuple[Format, ...] = ()
    index: Mapping[str, str] = field(default_factory=dict)

    @property
    def formats(self) -> tuple[Format, ...]:
        """In what its source may lie, the usual one first."""
        if self.format in AS_PUBLISHED:
            return (self.format,)
        return tuple(dict.fromkeys((self.format, *self.also, *_OF_KIND[self.kind])))


def find_recipe_of_set(name: str) -> SetRecipe:
    """The recipe of a set (raises ``UsageError`` with the sets there are)."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    pool = find_open_set(name)
    if pool is not None:
        raise UsageError(
            f"{name} ({pool.title}) is a pool to choose from, not an evaluation set.",
            hint=f"Make it with `datacup pool import FOLDER -o pools/{name}`; FOLDER: {pool.images}.",
        )
    if name.startswith(HUB_PREFIX):
        raise UsageError(
            f"The evaluation set {name} is not prepared: it is on the Hub.", hint="`evalsets list` names its command."
        )
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
    SetRecipe(
        "genbench-voc-2007-classification",
        Format.ELEVATER,
        splits=_TRAIN_VAL_TEST,
        classes=20,
        sizes={"train": 2501, "val": 2510},
        kind=Kind.SEVERAL_CLASSES,
        also=(Format.VOC_2007,),
    ),
    _elevater("genbench-sun397", 397, 19850, 19850),
    SetRecipe("genbench-imagenet-1k", Format.IMAGE_FOLDER, splits=_TEST, classes=1000, index={"test": "val"}),
)

_CAPTIONS = tuple(
    SetRecipe(
        f"{name}_image_text_retrieval",
        Format.CAPTIONS_CSV,
        splits=_TEST,
        kind=Kind.CAPTIONS,
        also=(Format.KARPATHY,),
    )
    for name in ("flickr_1k_test", "mscoco_2014_5k_test")
)

_WINOGAVIL = SetRecipe("winogavil", Format.WINOGAVIL, splits=_TEST, kind=Kind.INSTANCES)

_PUBLISHED = (
    SetRecipe("imagenet-c", Format.IMAGENET_C, splits=_TEST, classes=1000, sizes={"test": 75 * 50_000}),
    SetRecipe("objectnet", Format.OBJECTNET, splits=_TEST, classes=313),
    SetRecipe("stylized-imagenet", Format.STYLIZED_IMAGENET, splits=_TEST, classes=1000, sizes={"test": 50_000}),
)

_IMAGENET_V2 = tuple(
    SetRecipe(name, Format.IMAGENET_V2, splits=_TEST, classes=1000, kind=Kind.CLASSES_ALONE)
    for name in ("imagenet-validation-original", "imagenetv2-b-33", "imagenetv2-a-44", "imagenetv2-c-12")
)

RECIPES: tuple[SetRecipe, ...] = (*_SELECT, *_SIMCORE, *_GENBENCH, *_CAPTIONS, _WINOGAVIL, *_PUBLISHED, *_IMAGENET_V2)
