"""The ways to build a dataset that the quickstart compares: each is a pipeline that can be copied and changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

from participant_kit.pools.digits.reference_set import CLASS_TEXTS, CLASSES, FOLDER, IMAGES, LABELS, PROMPT_TEXTS

CENTROIDS = "centroids.npy"
"""Centres of the pool's images, beside the pipelines."""

CLUSTERS = 50


@dataclass(frozen=True, slots=True)
class Method:
    """A pipeline with a name for people.

    Args:
        name: as the command line knows it.
        title: as the standings show it.
        description: one sentence for the entry's card.
        steps: of the pipeline; in a file's name ``@`` stands for the pool's reference folder.
    """

    name: str
    title: str
    description: str
    steps: tuple[dict[str, Any], ...]

    @property
    def clusters(self) -> bool:
        """It needs the centres of the pool's images."""
        return any(step.get("options", {}).get("centroids") == CENTROIDS for step in self.steps)

    def text(self, pool: str) -> str:
        """The pipeline's file, for a pool at that path from it."""
        steps = [
            {**step, **({"options": _placed(step["options"], pool)} if "options" in step else {})}
            for step in self.steps
        ]
        content = {"version": 1, "pool": pool, "steps": steps}
        return f"# {self.title}. {self.description}\n{yaml.safe_dump(content, sort_keys=False)}"


def _placed(options: Mapping[str, Any], pool: str) -> dict[str, Any]:
    return {
        name: f"{pool}/{FOLDER}/{value[1:]}" if isinstance(value, str) and value.startswith("@") else value
        for name, value in options.items()
    }


def _one(name: str, title: str, description: str, run: str, /, **options: Any) -> Method:
    step: dict[str, Any] = {"name": name.replace("_", "-"), "run": run}
    return Method(name, title, description, ({**step, "options": options} if options else step,))


_FRACTION = 0.3
_BEST = {"name": "scored", "run": "subset clip_score", "options": {"arch": "l14", "fraction": 0.4}}
_TARGETS = {"target_features": f"@{IMAGES}"}
_CLASSES = {"classes": f"@{CLASSES}"}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            _one("no_filter", "No filter", "Every sample of the pool.", "subset no_filter"),
            _one("random", "Random 30 %", "A random part of the pool.", "subset random", fraction=_FRACTION),
            _one(
                "basic_filter",
                "Basic filter",
                "English captions of some length, on images large enough and not too narrow.",
                "subset basic_filter",
            ),
            _one(
                "clip_score",
                "CLIP score, best 30 %",
                "The pairs whose image and caption a reference CLIP finds most alike.",
                "subset clip_score",
                arch="l14",
                fraction=_FRACTION,
            ),
            _one(
                "clip_score_diverse",
                "CLIP score, diverse",
                "Pairs that match far better than chance, without look-alikes.",
                "subset clip_score_diverse",
                fraction=_FRACTION,
            ),
            _one(
                "clip_score_english",
                "CLIP score, English",
                "English captions among the best-scored 40 % of the pool.",
                "subset clip_score_english",
            ),
            _one(
                "score_fusion",
                "Two scores, fused",
                "The best 30 % by the mean rank of two models' scores.",
                "subset score_fusion",
                columns=["clip_l14_similarity_score", "clip_b32_similarity_score"],
                fraction=_FRACTION,
            ),
            _one(
                "image_based",
                "Image-based",
                "English captions, on images of a cluster that holds a target image.",
                "subset image_based",
                centroids=CENTROIDS,
                **_TARGETS,
            ),
            _one(
                "image_based_intersect_clip_score",
                "Image-based and CLIP score",
                "DataComp's best baseline: image-based among the best-scored 40 %.",
                "subset image_based_intersect_clip_score",
                arch="l14",
                fraction=0.4,
                centroids=CENTROIDS,
                **_TARGETS,
            ),
            _one(
                "reference_distance",
                "Nearest to targets",
                "The 30 % of the images that are most like a target image.",
                "subset reference_distance",
                fraction=_FRACTION,
                **_TARGETS,
            ),
            _one(
                "simcore",
                "SimCore",
                "A coreset of 30 % for the target images.",
                "subset simcore",
                budget=_FRACTION,
                num_clusters=CLUSTERS,
                **_TARGETS,
            ),
            _one(
                "k_center",
                "k-center",
                "The 30 % that leave no image of the pool far away.",
                "subset k_center",
                fraction=_FRACTION,
            ),
            _one(
                "cluster_quota",
                "Cluster quotas",
                "The best-scored of each cluster of images, as many of each as possible.",
                "subset cluster_quota",
                centroids=CENTROIDS,
                by="clip_l14_similarity_score",
                fraction=_FRACTION,
            ),
            Method(
                "dedup",
                "CLIP score, deduplicated",
                "The best-scored 40 %, and one of all images with the same content.",
                (
                    _BEST,
                    {
                        "name": "unique",
                        "run": "dedup semantic",
                        "from": ["scored"],
                        "options": {"features": "dedup", "threshold": 0.998},
                    },
                ),
            ),
            _one(
                "substring",
                "One class in the caption",
                "Captions that name exactly one digit.",
                "label substring",
                per_class=400,
                **_CLASSES,
            ),
            Method(
                "balance",
                "One class in the caption, balanced",
                "Captions that name exactly one digit, as many of each, without probably wrong labels.",
                (
                    {"name": "named", "run": "label substring", "options": dict(_CLASSES)},
                    {"name": "right", "run": "label prune", "from": ["named"], "options": dict(_CLASSES)},
                    {"name": "even", "run": "label balance", "from": ["right"], "options": dict(_CLASSES)},
                ),
            ),
            _one(
                "retrieve_captions",
                "SELECT: by caption",
                "Captions that name exactly one digit and are like its name.",
                "label retrieve-captions",
                per_class=400,
                threshold=0.3,
                arch="l14",
                class_features=f"@{CLASS_TEXTS}",
                **_CLASSES,
            ),
            _one(
                "retrieve_images",
                "SELECT: by image",
                "The images most like labelled reference digits.",
                "label retrieve-images",
                per_class=400,
                neighbours=100,
                reference_features=f"@{IMAGES}",
                reference_labels=f"@{LABELS}",
                **_CLASSES,
            ),
            _one(
                "retrieve_prompts",
                "GenBench: by prompt",
                "The captions nearest to prompts of the digits.",
                "label retrieve-prompts",
                per_class=400,
                neighbours=1000,
                arch="l14",
                prompt_features=f"@{PROMPT_TEXTS}",
                **_CLASSES,
            ),
        )
    }
)
