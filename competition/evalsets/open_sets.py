"""SimCore's seven open sets (arXiv 2303.11101): pools to choose from, not evaluation sets.

They have no labels and no parts, so there is nothing to prepare: `datacup pool import` makes the shards that subsets
are chosen from and `datacup train` reads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenSet:
    """An open set.

    Args:
        pool: its id in the catalogue's scales, and the name of its pool's folder.
        title: what it is.
        samples: how many images the paper counts.
        images: whose images are imported, of what is published.
    """

    pool: str
    title: str
    samples: int
    images: str


OPEN_SETS = (
    OpenSet("imagenet-1k-train", "ImageNet", 1_281_167, "its train folder"),
    OpenSet("coco-train", "COCO", 118_287, "train2017.zip, unpacked"),
    OpenSet("inat2021-mini", "iNaturalist 2021 mini", 500_000, "train_mini.tar.gz, unpacked"),
    OpenSet("places365-challenge", "Places365, challenge", 8_026_628, "the challenge's training images"),
    OpenSet("simcore-all", "the four above together", 9_926_082, "one folder with the four in it"),
    OpenSet("webvision", "WebVision, Google's and Flickr's images", 2_446_037, "its folders google and flickr"),
    OpenSet("webfg-496", "WebFG-496", 53_339, "the train folders of its three sets"),
)


def find_open_set(name: str) -> OpenSet | None:
    """The open set whose pool has this name."""
    return next((found for found in OPEN_SETS if found.pool == name), None)
