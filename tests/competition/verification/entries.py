"""A competition small enough for tests, and real entries of it: built whole, then broken in one place."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from competition.data.digests import file_sha256
from competition.data.metadata import write_metadata
from competition.data.uids import UID_DTYPE, UidArray, save_subset, sort_uids, uids_to_hex
from competition.records.lineage import stage_digest
from competition.records.manifest import FileRole
from competition.rules import Competition, parse_competition
from competition.verification.model import expected_tensors

TASKS = ("tiny-a", "tiny-b", "tiny-c")
SAMPLES = 12
POOL_SIZE = 60
NONCE = "ab" * 32

_TASK = """
    - id: {id}
      title: Task {id}
      protocol: zeroshot_classification
      dataset: {id}
      metric: acc1
      samples: 12
"""
COMPETITION_YAML = f"""
schema_version: 1
id: tiny
version: 1
title: Tiny
summary: A competition for tests.
tracks:
  - {{id: filtering, title: Filtering}}
scales:
  - id: nano
    title: Nano
    pool: {{id: tiny-pool, samples: {POOL_SIZE}}}
    recipe: tiny-nano
recipes:
  - kind: clip
    id: tiny-nano
    samples_seen: 100
    global_batch: 8
    optimizer: {{learning_rate: 0.001, warmup_steps: 2}}
    architecture:
      name: tiny-vit
      embed_dim: 16
      vision: {{image_size: 16, layers: 1, width: 32, head_width: 16, patch_size: 8}}
      text: {{context_length: 16, vocab_size: 49408, width: 16, heads: 2, layers: 1}}
suite:
  id: tiny
  version: 1
  tasks:{"".join(_TASK.format(id=task) for task in TASKS)}
  aggregates:
    - {{id: average, title: Average, tasks: [{", ".join(TASKS)}]}}
  primary: average
phases:
  - {{id: public, title: Open, opens: 2020-01-01T00:00:00Z}}
limits: {{files: 8, file_bytes: 8000000, total_bytes: 9000000, subset_uids: 80}}
"""


@cache
def tiny_competition() -> Competition:
    """The competition as the loader reads it; once, as nothing can change it."""
    return parse_competition(COMPETITION_YAML.encode(), name="tiny.yaml")


def pool_array() -> UidArray:
    """The uids of the pool, sorted."""
    random = np.random.default_rng(7)
    uids = np.empty(POOL_SIZE, dtype=UID_DTYPE)
    uids["f0"] = random.integers(0, 2**64, POOL_SIZE, dtype=np.uint64)
    uids["f1"] = random.integers(0, 2**64, POOL_SIZE, dtype=np.uint64)
    return sort_uids(uids)


def write_pool(pools: Path) -> None:
    """The pool's metadata where a scorer looks for it."""
    uids = uids_to_hex(pool_array())
    count = len(uids)
    rows: dict[str, list[Any]] = {
        "uid": uids,
        "url": ["https://example.org/a.jpg"] * count,
        "text": ["a picture"] * count,
        "original_width": [256] * count,
        "original_height": [256] * count,
        "clip_b32_similarity_score": [0.3] * count,
        "clip_l14_similarity_score": [0.3] * count,
        "face_bboxes": [[]] * count,
        "sha256": ["0" * 64] * count,
    }
    write_metadata(pools / "tiny-pool" / "metadata", "0" * 32, rows)


def write_evaluation_sets(root: Path) -> None:
    """The three evaluation sets in CLIP_benchmark's layout."""
    random = np.random.default_rng(11)
    for task in TASKS:
        folder = root / task
        (folder / "test").mkdir(parents=True)
        (folder / "classnames.txt").write_text("red\ngreen\nblue\n")
        (folder / "zeroshot_classification_templates.txt").write_text("a {c} picture\n")
        (folder / "test" / "nshards.txt").write_text("1")
        with tarfile.open(folder / "test" / "0.tar", "w") as tar:
            for index in range(SAMPLES):
                # A colour of its own: of images that are noise alone, a model says the same of all.
                pixels = random.integers(0, 236, (1, 1, 3)) + random.integers(0, 20, (16, 16, 3))
                image = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(image, "PNG")
                _add(tar, f"{index:06d}.png", image.getvalue())
                _add(tar, f"{index:06d}.cls", str(index % 3).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def tiny_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of the recipe's model, by tensor name, of a size with which it tells images apart."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, (_, shape) in expected_tensors(tiny_competition().recipes[0]).items():
        spread = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
        gain = len(shape) == 1 and name.endswith("weight")
        weights[name] = np.asarray(random.normal(float(gain), spread, shape), np.float32)
    return weights


ROLES = {
    "subset.npy": FileRole.SUBSET,
    "model.safetensors": FileRole.MODEL,
    "training_report.json": FileRole.TRAINING_REPORT,
    "README.md": FileRole.CARD,
}


@dataclass
class TinyEntry:
    """A submission folder. Change files, then ``seal()`` writes the manifest that fits them."""

    folder: Path
    submission_id: str = "sub-1"
    nonce: str = NONCE
    roles: dict[str, FileRole] = field(default_factory=lambda: dict(ROLES))

    def build(self, seed: int = 0) -> TinyEntry:
        """Write every file of a valid entry, without the manifest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pool = pool_array()
        self.save_subset(sort_uids(np.concatenate([pool[:20], pool[5:8]])))
        self.save_weights(tiny_weights(seed))
        (self.folder / "README.md").write_text("# Tiny\n")
        return self

    def save_subset(self, uids: UidArray) -> None:
        """Replace the subset."""
        save_subset(self.folder / "subset.npy", uids)

    def save_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace the model, and the training report that names its digest."""
        save_file(dict(weights), self.folder / "model.safetensors")
        self.report()

    def report(self, **changes: object) -> None:
        """Write the training report for the model that lies in the folder."""
        recipe = tiny_competition().recipes[0]
        report = {
            "schema_version": 1,
            "competition": "tiny",
            "recipe": recipe.id,
            "recipe_digest": recipe.digest,
            "seed": 0,
            "steps": 12,
            "samples_seen": 96,
            "final_loss": 1.5,
            "data": {"shards": 1, "samples": 23, "digest": "0" * 64, "corrupt_samples": 0},
            "model_sha256": file_sha256(self.folder / "model.safetensors"),
            "hardware": {"device": "cpu", "threads": 1, "torch_version": "2"},
            "code_version": "0.1.0",
            "started_at": "2026-01-01T00:00:00Z",
            "finished_at": "2026-01-01T00:01:00Z",
            "seconds": 60.0,
        }
        (self.folder / "training_report.json").write_text(json.dumps({**report, **changes}))

    def lineage(self, **changes: object) -> None:
        """Write the lineage of the subset that lies in the folder, one step without options, and list it."""
        step = {"name": "all", "operation": "subset no_filter", "options": {}, "inputs": [], "assets": {}}
        counts = {"total": 23, "kept": 23, "repeats": 0, "dropped": {"a_reason": 0}}
        digest = stage_digest("subset no_filter", {}, inputs=[], pool=None, assets={}, code_version="0.1.0")
        made = {"reads_pool": False, "digest": digest, "subset_sha256": file_sha256(self.folder / "subset.npy")}
        lineage = {
            "schema_version": 1,
            "pool": {"metadata_files": 1, "digest": "0" * 64},
            "steps": [{**step, **counts, **made, **changes}],
            "code_version": "0.1.0",
            "created_at": "2026-01-01T00:00:00Z",
        }
        (self.folder / "dataset.json").write_text(json.dumps(lineage))
        self.roles["dataset.json"] = FileRole.LINEAGE

    def evaluation(self, **changes: object) -> None:
        """Write the evaluation report of the model that lies in the folder, and list it."""
        competition = tiny_competition()
        recipe, suite = competition.recipes[0], competition.suite
        results = [
            {"task": task, "metric": "acc1", "value": 0.5, "metrics": {"acc1": 0.5}, "samples": 12, "seconds": 1.0,
             "interval": None}
            for task in TASKS
        ]  # fmt: skip
        report = {
            "schema_version": 1,
            "competition": "tiny",
            "suite": suite.reference,
            "suite_digest": suite.digest,
            "recipe": recipe.id,
            "recipe_digest": recipe.digest,
            "model_sha256": file_sha256(self.folder / "model.safetensors"),
            "results": results,
            "code_version": "0.1.0",
            "finished_at": "2026-01-01T00:00:00Z",
        }
        (self.folder / "evaluation_report.json").write_text(json.dumps({**report, **changes}))
        self.roles["evaluation_report.json"] = FileRole.EVALUATION_REPORT

    def manifest(self, **changes: object) -> dict[str, Any]:
        """The manifest that fits the files, as plain JSON values."""
        competition = tiny_competition()
        files = [
            {
                "path": name,
                "role": role.value,
                "size": (self.folder / name).stat().st_size,
                "sha256": file_sha256(self.folder / name),
            }
            for name, role in self.roles.items()
        ]
        fields = {
            "schema_version": 1,
            "submission_id": self.submission_id,
            "nonce": self.nonce,
            "competition": "tiny",
            "competition_version": 1,
            "track": "filtering",
            "scale": "nano",
            "recipe_digest": competition.recipes[0].digest,
            "suite": competition.suite.reference,
            "suite_digest": competition.suite.digest,
            "method_name": "random weights",
            "author": "a tester",
            "description": "",
            "subset_samples": 23,
            "subset_unique": 20,
            "files": files,
            "code_version": "0.1.0",
            "created_at": "2026-01-01T00:00:00Z",
        }
        return {**fields, **changes}

    def seal(self, **changes: object) -> TinyEntry:
        """Write ``submission.json``."""
        (self.folder / "submission.json").write_text(json.dumps(self.manifest(**changes)))
        return self
