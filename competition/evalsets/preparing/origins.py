"""Where the source of each set that is prepared is had, and what of it is given as ``--source``.

Nothing here is fetched by this program. Some pages ask for an account, or for terms to be accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from competition.errors import UsageError
from competition.evalsets.preparing.recipes import RECIPES, Format, SetRecipe

_ELEVATER = "https://github.com/Computer-Vision-in-the-Wild/Elevater_Toolkit_IC"
_NOT_DOWNLOADED = frozenset({"StanfordCars", "LFWPeople"})
"""Sets whose address torchvision no longer knows."""

_OF_TORCHVISION: Mapping[str, str] = MappingProxyType(
    {
        "CIFAR10": "https://www.cs.toronto.edu/~kriz/cifar.html",
        "CIFAR100": "https://www.cs.toronto.edu/~kriz/cifar.html",
        "Caltech256": "https://data.caltech.edu/records/20087",
        "Country211": "https://github.com/openai/CLIP/blob/main/data/country211.md",
        "DTD": "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        "EuroSAT": "https://github.com/phelber/eurosat",
        "FGVCAircraft": "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        "Flowers102": "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        "Food101": "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        "GTSRB": "https://benchmark.ini.rub.de/",
        "LFWPeople": "http://vis-www.cs.umass.edu/lfw/",
        "MNIST": "http://yann.lecun.com/exdb/mnist/",
        "OxfordIIITPet": "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        "PCAM": "https://github.com/basveeling/pcam",
        "RenderedSST2": "https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
        "SUN397": "https://vision.princeton.edu/projects/2010/SUN/",
        "SVHN": "http://ufldl.stanford.edu/housenumbers/",
        "StanfordCars": "https://pytorch.org/vision/stable/generated/torchvision.datasets.StanfordCars.html",
    }
)

_ELEVATER_FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "genbench-caltech-101": "caltech_101_20211007",
        "genbench-eurosat-clip": "eurosat_clip_20210930",
        "genbench-fer-2013": "fer_2013_20211008",
        "genbench-gtsrb": "gtsrb_20210923",
        "genbench-hateful-memes": "hateful_memes_20211014",
        "genbench-kitti-distance": "kitti_distance_20210923",
        "genbench-rendered-sst2": "rendered_sst2_20210924",
        "genbench-resisc45-clip": "resisc45_clip_20210924",
        "genbench-voc-2007-classification": "voc2007_20211007",
    }
)
"""Of ELEVATER's registry (``vision_datasets.json``), below ``classification``."""

_OTHER: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "genbench-sun397": ("https://github.com/Luodian/GenBench", "train.txt, val.txt, test.txt and their zip files"),
        "genbench-imagenet-1k": ("https://www.image-net.org/", "the validation images, one folder for each class"),
        "simcore-birds": ("https://www.vision.caltech.edu/datasets/cub_200_2011/", "CUB_200_2011, unpacked"),
        "simcore-dogs": (
            "http://vision.stanford.edu/aditya86/ImageNetDogs/",
            "Images, train_list.mat and test_list.mat, unpacked",
        ),
        "simcore-action": (
            "http://vision.stanford.edu/Datasets/40actions.html",
            "JPEGImages and ImageSplits, unpacked",
        ),
        "simcore-indoor": (
            "https://web.mit.edu/torralba/www/indoor.html",
            "Images, TrainImages.txt and TestImages.txt",
        ),
        "simcore-faces": (
            "https://github.com/switchablenorms/CelebAMask-HQ",
            "train and test, with one folder for each identity",
        ),
        "simcore-food11": (
            "https://www.epfl.ch/labs/mmspg/downloads/food-image-datasets/",
            "training, validation and evaluation, unpacked",
        ),
        "flickr_1k_test_image_text_retrieval": (
            "https://huggingface.co/datasets/nlphuji/flickr_1k_test_image_text_retrieval",
            "test_1k_flickr.csv and images_flickr_1k_test.zip",
        ),
        "mscoco_2014_5k_test_image_text_retrieval": (
            "https://huggingface.co/datasets/nlphuji/mscoco_2014_5k_test_image_text_retrieval",
            "test_5k_mscoco_2014.csv and images_mscoco_2014_5k_test.zip",
        ),
        "winogavil": (
            "https://huggingface.co/datasets/nlphuji/winogavil",
            "winogavil_dataset.csv and winogavil_images.zip, unpacked; or the dataset's parquet files",
        ),
        "imagenet-c": (
            "https://zenodo.org/records/2235448",
            "blur.tar, digital.tar, noise.tar and weather.tar, unpacked",
        ),
        "objectnet": ("https://objectnet.dev/", "objectnet-1.0.zip, unpacked"),
        "stylized-imagenet": (
            "https://github.com/rgeirhos/Stylized-ImageNet",
            "what its program makes of ImageNet, with val/<class>",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class SourceOrigin:
    """Where a set's source is had.

    Args:
        page: its authors', or of those who keep it.
        given: what the folder of ``--source`` has to hold.
        download: torchvision can fetch it.
    """

    page: str
    given: str
    download: bool = False


def origin_of_source(recipe: SetRecipe) -> SourceOrigin:
    """Where the source of a set is had.

    Raises:
        UsageError: nothing is known of it.
    """
    if recipe.format is Format.TORCHVISION and recipe.dataset in _OF_TORCHVISION:
        given = f"torchvision's root of {recipe.dataset}"
        return SourceOrigin(_OF_TORCHVISION[recipe.dataset], given, recipe.dataset not in _NOT_DOWNLOADED)
    if recipe.name in _ELEVATER_FOLDERS:
        return SourceOrigin(_ELEVATER, f"classification/{_ELEVATER_FOLDERS[recipe.name]} of ELEVATER's storage")
    if recipe.format is Format.IMAGENET_V2:
        return SourceOrigin(
            "https://github.com/modestyachts/ImageNetV2", f"data/datasets of its repository, with {recipe.name}.json"
        )
    if recipe.name in _OTHER:
        return SourceOrigin(*_OTHER[recipe.name])
    raise UsageError(f"Nothing is known of where {recipe.name} comes from.")


def origins() -> Mapping[str, SourceOrigin]:
    """Where the source of every set is had that is not on DataComp's part of the Hub."""
    return {recipe.name: origin_of_source(recipe) for recipe in RECIPES}
