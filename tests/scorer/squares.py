"""A competition of coloured squares: its pool with images, and entries that were really trained, in a second or two.

In half of the pool blue squares are captioned green. Who chooses that half teaches a model two colours of three.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from competition.canonical import digest
from competition.data.digests import file_sha256
from competition.data.metadata import write_metadata
from competition.data.shards import Sample, write_shard
from competition.data.uids import UidArray, parse_uids, save_subset, sort_uids
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.records.training import TrainingReport
from competition.rules import Competition, find_scale, parse_competition
from participant_kit.reshard import reshard
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from scorer.mirror import Mirror

TASKS = ("squares-a", "squares-b")
POOL_SIZE = 120
_TEST_NOISE = 220
_COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
_NAMES = tuple(_COLOURS)
_RECIPE = """
  - kind: clip
    id: squares-{scale}
    samples_seen: {samples}
    global_batch: 12
    optimizer: {{learning_rate: 0.003, warmup_steps: 5}}
    architecture:
      name: tiny-vit
      embed_dim: 16
      vision: {{image_size: 16, layers: 1, width: 32, head_width: 16, patch_size: 8}}
      text: {{context_length: 12, vocab_size: 49408, width: 16, heads: 2, layers: 1}}
"""
_TASK = """
    - {{id: {task}, title: {task}, protocol: zeroshot_classification, dataset: {task}, metric: acc1, samples: 60}}
"""
YAML = f"""
schema_version: 1
id: squares
version: 1
title: Squares
summary: A competition for tests.
tracks:
  - {{id: filtering, title: Filtering}}
scales:
  - {{id: nano, title: Nano, pool: {{id: squares, samples: {POOL_SIZE}}}, recipe: squares-nano}}
  - {{id: micro, title: Micro, pool: {{id: squares, samples: {POOL_SIZE}}}, recipe: squares-micro}}
recipes:{_RECIPE.format(scale="nano", samples=600)}{_RECIPE.format(scale="micro", samples=1200)}
suite:
  id: squares
  version: 1
  tasks:{"".join(_TASK.format(task=task) for task in TASKS)}
  aggregates:
    - {{id: average, title: Average, tasks: [{", ".join(TASKS)}]}}
  primary: average
phases:
  - {{id: public, title: Open, opens: 2020-01-01T00:00:00Z}}
"""


def squares() -> Competition:
    """The competition as the loader reads it."""
    return parse_competition(YAML.encode(), name="squares.yaml")


def write_everything(root: Path) -> None:
    """Pool, evaluation sets and competition file where a scorer looks for them."""
    (root / "tiny.yaml").write_text(YAML)
    pool = root / "pools" / "squares"
    (pool / "shards").mkdir(parents=True)
    uids = [_uid(number) for number in range(POOL_SIZE)]
    columns = {"url": "https://example.org/a.png", "text": "a square", "sha256": "0" * 64, "face_bboxes": []}
    columns |= {"original_width": 16, "original_height": 16}
    columns |= {"clip_b32_similarity_score": 0.3, "clip_l14_similarity_score": 0.3}
    write_metadata(
        pool / "metadata", "0" * 32, {"uid": uids, **{name: [value] * POOL_SIZE for name, value in columns.items()}}
    )
    for shard in range(2):
        samples = [_sample(number) for number in range(shard * POOL_SIZE // 2, (shard + 1) * POOL_SIZE // 2)]
        write_shard(pool / "shards", shard, samples)
    for place, task in enumerate(TASKS):
        folder = root / "evaluation" / task
        (folder / "test").mkdir(parents=True)
        (folder / "classnames.txt").write_text("\n".join(_NAMES) + "\n")
        (folder / "zeroshot_classification_templates.txt").write_text("a {c} square\n")
        (folder / "test" / "nshards.txt").write_text("1")
        with tarfile.open(folder / "test" / "0.tar", "w") as tar:
            for number in range(60):
                _add(tar, f"{number:06d}.png", _image(3000 * (place + 1) + number, _TEST_NOISE))
                _add(tar, f"{number:06d}.cls", str(number % 3).encode())


def half(*, blurred: bool) -> UidArray:
    """The uids of one half of the pool, sorted; in the ``blurred`` one blue squares are called green."""
    return sort_uids(parse_uids([_uid(number) for number in range(POOL_SIZE) if _blurred(number) is blurred]))


@dataclass(frozen=True)
class Trained:
    """A run in ``folder`` on the shards of ``subset``."""

    folder: Path
    subset: UidArray
    report: TrainingReport


def train_on(workplace: Path, subset: UidArray, out: Path, *, seed: int = 0, scale: str = "micro") -> Trained:
    """What a participant does: copy the subset's samples, train the scale's recipe."""
    rules = squares()
    out.mkdir(parents=True)
    save_subset(out / "subset.npy", subset)
    reshard(workplace / "pools" / "squares" / "shards", out / "shards", out / "subset.npy")
    recipe = rules.recipe_of(find_scale(rules, scale))
    plan = Plan(recipe, rules.id, DataChoice((str(out / "shards"),)), out, "run", seed)
    return Trained(plan.folder, subset, train(plan, Machine("cpu", 1, 0)))


def write_entry(folder: Path, subset: UidArray, model: Trained, identity: dict[str, str]) -> SubmissionManifest:
    """An entry's folder: that subset, and that run's model and report. ``identity``: id, nonce and scale."""
    rules = squares()
    folder.mkdir(parents=True)
    save_subset(folder / "subset.npy", subset)
    for name in ("model.safetensors", "training_report.json"):
        (folder / name).write_bytes((model.folder / name).read_bytes())
    (folder / "README.md").write_text("# Squares\n")
    roles = {
        "subset.npy": FileRole.SUBSET,
        "model.safetensors": FileRole.MODEL,
        "training_report.json": FileRole.TRAINING_REPORT,
        "README.md": FileRole.CARD,
    }
    files = [
        ManifestFile(path=name, role=role, size=(folder / name).stat().st_size, sha256=file_sha256(folder / name))
        for name, role in roles.items()
    ]
    manifest = SubmissionManifest.model_validate(
        {
            "nonce": digest("nonce"),
            **identity,
            "competition": rules.id,
            "competition_version": 1,
            "track": "filtering",
            "recipe_digest": rules.training_digest(find_scale(rules, identity["scale"])),
            "suite": rules.suite.reference,
            "suite_digest": rules.suite.digest,
            "method_name": "squares",
            "author": "a tester",
            "subset_samples": len(subset),
            "subset_unique": len(subset),
            "files": [file.model_dump() for file in files],
            "code_version": "0.1.0",
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )
    (folder / "submission.json").write_text(manifest.model_dump_json())
    return manifest


def mirror_entry(mirror: Path, folder: Path, manifest: SubmissionManifest) -> None:
    """Put an entry's files where intake puts them."""
    store = Mirror(mirror)
    for file in manifest.files:
        if not store.holds(file.sha256, file.size):
            with store.scratch() as scratch:
                (scratch / "file").write_bytes((folder / file.path).read_bytes())
                store.adopt(scratch / "file", file.sha256)


def _uid(number: int) -> str:
    return digest(["square", number])[:32]


def _blurred(number: int) -> bool:
    return number // 3 % 2 == 0


def _sample(number: int) -> Sample:
    name = _NAMES[number % 3]
    said = "green" if name == "blue" and _blurred(number) else name
    members = {"png": _image(number), "txt": f"a {said} square".encode()}
    return Sample(f"{number:09d}", members | {"json": json.dumps({"uid": _uid(number)}).encode()})


def _image(number: int, noisy: float = 45) -> bytes:
    noise = np.random.default_rng(number).normal(0, noisy, (16, 16, 3))
    pixels = np.clip(np.array(_COLOURS[_NAMES[number % 3]]) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
