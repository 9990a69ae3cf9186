"""Metadata made for shards: rows are the samples, scores the cosines, and every filter takes them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.fft import dct
from typer.testing import CliRunner

from competition.data.engine import Needs
from competition.data.metadata import SCHEMA, list_metadata, read_feature
from competition.data.ray_engine import RayEngine
from competition.data.shards import Sample, list_shards, read_samples, write_shard
from competition.errors import DataFormatError, EngineError, EvaluationError, UsageError
from competition.evaluation.encoders import build_clip, load_encoder
from competition.evaluation.images import Preparation, decode_rgb
from competition.progress import Progress
from competition.rules import find_competition
from participant_kit.cli import app
from participant_kit.pools.annotate import run
from participant_kit.pools.annotate.descriptors import embedding_descriptors, hash_thumbnail, perceptual_hashes
from participant_kit.pools.annotate.identity import pair_uid
from participant_kit.pools.annotate.models import ModelChoice, find_model, load_model
from participant_kit.pools.annotate.run import AnnotateOptions, AnnotateReport, annotate_pool
from participant_kit.pools.annotate.shard import Job, annotate_shard
from participant_kit.pools.places import PoolPlaces
from participant_kit.pools.verify import verify_pool
from participant_kit.subsets import STRATEGIES, StrategyOptions, build_subset
from tests.conftest import ROOT
from tests.forks import Forks
from tests.participant_kit.pools import small, tiny
from tests.participant_kit.subsets.test_baselines import needs_gcld3, needs_wordnet

SAMPLES = 240
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the digits pool, and two tiny models with random weights."""
    root = tmp_path_factory.mktemp("annotate")
    tiny.build_tiny(root / "pool", SAMPLES)
    (root / "tiny.json").write_text(json.dumps(CONFIG))
    for seed, role in enumerate(("b32", "l14")):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = open_clip.CLIP(**CONFIG)
        save_file(
            {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, root / f"{role}.safetensors"
        )
    return root


def choice(root: Path, role: str) -> ModelChoice:
    return ModelChoice(str(root / "tiny.json"), str(root / f"{role}.safetensors"), role)


def options(root: Path, *roles: str) -> AnnotateOptions:
    return AnnotateOptions(tuple(choice(root, role) for role in roles or ("b32", "l14")), batch=50)


@pytest.fixture(scope="module")
def made(root: Path) -> tuple[Path, AnnotateReport]:
    return root / "made", annotate_pool(root / "pool" / "shards", root / "made", options(root))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in list_metadata(folder) for row in pq.read_table(path).to_pylist()]


def test_rows_are_the_samples_and_say_what_the_pool_says(root: Path, made: tuple[Path, AnnotateReport]) -> None:
    folder, report = made
    assert (report.samples, report.rows, report.dropped, report.notes) == (SAMPLES, SAMPLES, {}, {})
    assert {path.name for path in folder.iterdir() if path.suffix not in {".parquet", ".npz"}} == {
        "annotation.json", "extras", ".lock"
    }  # fmt: skip
    ours = {row["uid"]: row for row in rows_of(folder)}
    theirs = {row["uid"]: row for row in rows_of(root / "pool" / "metadata")}
    assert len(ours) == SAMPLES
    for uid, row in theirs.items():
        for name in ("url", "text", "original_width", "original_height", "face_bboxes", "sha256"):
            assert ours[uid][name] == row[name]
    assert all(pq.read_schema(path).equals(SCHEMA) for path in list_metadata(folder))
    places = PoolPlaces(root, folder, root / "pool" / "shards")
    assert verify_pool(places, deep=True).sound


def test_scores_and_features_are_the_models(root: Path, made: tuple[Path, AnnotateReport]) -> None:
    samples = {
        json.loads(sample.members["json"])["uid"]: sample
        for shard in list_shards(root / "pool" / "shards").shards
        for sample in read_samples(shard.path)
    }
    for role in ("b32", "l14"):
        encoder = load_model(find_model(choice(root, role)), "cpu")
        for path in list_metadata(made[0]):
            table = pq.read_table(path)
            images = [decode_rgb(samples[uid].members["jpg"]) for uid in table["uid"].to_pylist()]
            image = encoder.encode_images(np.stack([Preparation(32)(each) for each in images]))
            text = encoder.encode_texts(table["text"].to_pylist())
            assert np.allclose(read_feature(path, f"{role}_img"), image, atol=1e-3)
            assert np.allclose(read_feature(path, f"{role}_txt"), text, atol=1e-3)
            scores = table[f"clip_{role}_similarity_score"].to_numpy()
            assert np.allclose(scores, (image * text).sum(axis=1), atol=1e-5)
            assert read_feature(path, f"{role}_img").dtype == np.float16
            if role == "b32":
                assert np.allclose(read_feature(path, "dedup"), embedding_descriptors(image), atol=1e-5)
    assert read_feature(path, "dedup").shape[1] == 256


def test_extras_are_row_by_row_the_same_samples(made: tuple[Path, AnnotateReport]) -> None:
    languages = set()
    for path in list_metadata(made[0]):
        extras = pq.read_table(path.parent / "extras" / path.name)
        assert extras["uid"].to_pylist() == pq.read_table(path)["uid"].to_pylist()
        languages |= set(extras["language"].to_pylist())
        assert all(len(text) == 16 for text in extras["perceptual_hash"].to_pylist())
    assert {"en", "es"} <= languages


def test_workers_and_a_kill_change_nothing(
    forks: Forks, root: Path, made: tuple[Path, AnnotateReport], tmp_path: Path
) -> None:
    shards = root / "pool" / "shards"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.participant_kit.pools.test_annotate import options\n"
        "from participant_kit.pools.annotate.run import annotate_pool\n"
        "kill = lambda progress: progress.done == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "annotate_pool(Path(sys.argv[1]), Path(sys.argv[2]), options(Path(sys.argv[3])), progress=kill)\n"
    )
    assert forks.run(code, shards, tmp_path / "killed", root).returncode == -9
    for folder in (tmp_path / "killed", tmp_path / "killed" / "extras"):  # as a kill amid a file would
        (folder / ".0.parquet.0123.partial").write_bytes(b"left by the kill")
    seen: list[Progress] = []
    annotate_pool(shards, tmp_path / "killed", options(root), 2, progress=seen.append)
    assert seen[0].resumed == 2
    assert contents(tmp_path / "killed") == contents(made[0])


def test_a_finished_job_is_recognised_and_another_one_is_refused(
    root: Path, made: tuple[Path, AnnotateReport], tmp_path: Path
) -> None:
    shards = root / "pool" / "shards"
    assert annotate_pool(shards, made[0], options(root)) == made[1]
    with pytest.raises(UsageError, match="holds other metadata"):
        annotate_pool(shards, made[0], options(root, "l14"))
    with pytest.raises(UsageError, match="is not empty"):
        annotate_pool(shards, root / "pool" / "metadata", options(root))


def test_damaged_shards_are_named_or_tolerated_and_after_their_repair_the_run_goes_on(
    root: Path, made: tuple[Path, AnnotateReport], tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    for shard in list_shards(root / "pool" / "shards").shards:
        (tmp_path / "shards" / shard.name).write_bytes(shard.path.read_bytes())
    damaged = tmp_path / "shards" / "00000001.tar"
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:60_000])
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged") as caught:
        annotate_pool(tmp_path / "shards", tmp_path / "out", options(root))
    assert "--tolerate 1" in caught.value.hint
    shutil.copytree(tmp_path / "out", tmp_path / "tolerant")
    words = ["pool", "annotate", "-i", str(tmp_path / "shards"), "-o", str(tmp_path / "tolerant"), "--batch", "50"]
    for role in ("b32", "l14"):
        words += ["--model", str(root / "tiny.json"), "--pretrained", str(root / f"{role}.safetensors")]
    result = CliRunner().invoke(app, [*words, "--tolerate", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Warning: " in result.stderr
    assert "00000001.tar is damaged" in result.stderr
    less = json.loads((tmp_path / "tolerant" / "annotation.json").read_text())
    assert len(less["damaged_shards"]) == 1
    assert SAMPLES // 3 * 2 < less["rows"] == less["samples"] < SAMPLES
    everything = {row["uid"]: row for row in rows_of(made[0])}
    assert all(everything[row["uid"]] == row for row in rows_of(tmp_path / "tolerant"))
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged"):  # finished, and not tolerated now
        annotate_pool(tmp_path / "shards", tmp_path / "tolerant", options(root))
    damaged.write_bytes(sound)
    for name in ("out", "tolerant"):
        seen: list[Progress] = []
        report = annotate_pool(tmp_path / "shards", tmp_path / name, options(root), progress=seen.append)
        assert (seen[0].resumed, report.rows, report.damaged_shards) == (2, SAMPLES, [])
        assert contents(tmp_path / name) == contents(made[0])


@pytest.mark.ray
@pytest.mark.slow
def test_on_a_cluster_its_gpus_count_and_not_those_of_this_machine(
    root: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RayEngine(ray_address) as engine,
        pytest.raises(EngineError, match=r"needs 4 processor core\(s\) and 1 GPU\(s\)"),
    ):
        annotate_pool(root / "pool" / "shards", tmp_path / "out", options(root), engine)
    monkeypatch.setattr(RayEngine, "gpu_count", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with RayEngine(ray_address) as engine:
        assert run._engine(engine) == (engine, Needs(), 1)


def test_a_gpu_that_pytorch_does_not_see_is_said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    job = Job(tmp_path, (), tmp_path, 50, 1, gpu=True)
    with pytest.raises(EngineError, match="a GPU, and PyTorch sees none there"):
        annotate_shard(job, (0, list_shards(root / "pool" / "shards").shards[0]))


IMAGES = {"centroids": "centroids.npy", "target_features": "targets.npz"}
TEXTS = {"synset_ids": "synsets.txt"}
SCORE = {"arch": "b32", "fraction": 0.3}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "no_filter": {},
    "basic_filter": {},
    "clip_score": SCORE,
    "laion2b": {},
    "text_based": TEXTS,
    "image_based": IMAGES,
    "image_based_intersect_clip_score": IMAGES | {"arch": "l14", "fraction": 0.9},
    "image_sampling": IMAGES | {"size": 20},
    "text_sampling": TEXTS | {"size": 20},
    "random": {"size": 20},
    "simcore": {"target_features": "targets.npz", "size": 20},
    "score_fusion": {"columns": ["clip_b32_similarity_score", "clip_l14_similarity_score"], "size": 20},
    "k_center": {"size": 20},
    "cluster_quota": {"centroids": "centroids.npy", "size": 20},
    "reference_distance": {"target_features": "targets.npz", "size": 20},
    "clip_score_diverse": {"arch": "l14"},
    "clip_score_english": SCORE,
}
MARKS = {"laion2b": needs_gcld3, "text_based": needs_wordnet, "text_sampling": needs_wordnet}
CAN_BE_EMPTY = {"laion2b"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in STRATEGIES])
def test_every_filter_runs_on_the_result(name: str, made: tuple[Path, AnnotateReport], tmp_path: Path) -> None:
    folder, _ = made
    features = read_feature(list_metadata(folder)[0], "l14_img").astype(np.float32)
    np.save(tmp_path / "centroids.npy", features[:8])
    np.savez(tmp_path / "targets.npz", a=features[:4])
    (tmp_path / "synsets.txt").write_text("n06410904\nn13384557\nn05938976\nn03931044\n")
    given = {key: tmp_path / value if key in IMAGES | TEXTS else value for key, value in ARGUMENTS[name].items()}
    report = build_subset(name, folder, tmp_path / "subset.npy", StrategyOptions(**given))
    assert report.total == SAMPLES
    assert report.kept > 0 or name in CAN_BE_EMPTY


def _json(**said: object) -> bytes:
    return json.dumps(said).encode()


def test_samples_that_cannot_be_rows_are_counted_by_reason(root: Path, tmp_path: Path) -> None:
    image, text = small.jpeg(1), b"a caption"
    strip = io.BytesIO()
    Image.new("L", (70_000, 1)).save(strip, "PNG")
    box = [0.0, 0.1, 0.2, 0.3]
    samples = [
        Sample("plain", {"jpg": image, "txt": text}),
        Sample("url", {"jpg": image, "json": _json(url="http://a/b.jpg", caption="from json")}),
        Sample("said", {"jpg": image, "txt": text, "json": _json(uid="AB", sha256="AB" * 32, face_bboxes=[box])}),
        Sample("odd", {"jpg": image, "txt": text, "json": _json(face_bboxes=[[1]], original_width="x", sha256="x")}),
        Sample("noimage", {"txt": text}),
        Sample("nocaption", {"jpg": image}),
        Sample("badimage", {"jpg": image[:100], "txt": text}),
        Sample("badtext", {"jpg": image, "txt": b"\xff\xfe"}),
        Sample("surrogate", {"jpg": image, "json": b'{"caption": "\\ud800"}'}),
        Sample("badjson", {"jpg": image, "txt": text, "json": b"{"}),
        Sample("nodict", {"jpg": image, "txt": text, "json": b"[]"}),
        Sample("uidnumber", {"jpg": image, "txt": text, "json": _json(uid=[17])}),
        Sample("elongated", {"png": strip.getvalue(), "txt": text}),
        Sample("baduid", {"jpg": image, "txt": text, "json": _json(uid="no hex")}),
    ]
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards", 0, samples)
    write_shard(tmp_path / "shards", 1, samples[4:5])
    report = annotate_pool(tmp_path / "shards", tmp_path / "out", options(root, "l14"))
    assert (report.samples, report.rows) == (15, 4)
    assert report.dropped == {
        "caption is not UTF-8": 2, "image too elongated": 1, "malformed json": 2, "malformed uid": 2,
        "no caption": 1, "no image": 2, "undecodable image": 1,
    }  # fmt: skip
    assert report.notes == {"malformed face boxes left out": 1, "uid made from url or image and caption": 3}
    (path,) = list_metadata(tmp_path / "out")
    plain, url, said, odd = pq.read_table(path).to_pylist()
    digest = hashlib.sha256(image).hexdigest()
    assert plain["uid"] == odd["uid"] == pair_uid(f"sha256:{digest}", "a caption")
    assert (plain["sha256"], plain["original_width"], plain["original_height"]) == (digest, 64, 48)
    assert (url["uid"], url["url"]) == (pair_uid("http://a/b.jpg", "from json"), "http://a/b.jpg")
    assert (said["uid"], said["sha256"], said["face_bboxes"]) == ("ab".rjust(32, "0"), "ab" * 32, [box])
    assert plain["clip_b32_similarity_score"] is None
    assert plain["clip_l14_similarity_score"] is not None
    (tmp_path / "shards" / "00000000.tar").unlink()
    with pytest.raises(DataFormatError, match="None of the 1 samples can be annotated"):
        annotate_pool(tmp_path / "shards", tmp_path / "none", options(root))


def test_perceptual_hashes_are_the_published_methods(root: Path) -> None:
    image = decode_rgb(small.jpeg(5, 480))
    copies = [image, image.resize((200, 150)), image.rotate(180), Image.new("RGB", (64, 64), (9, 9, 9))]
    thumbnails = np.stack([hash_thumbnail(each) for each in copies])
    hashes = perceptual_hashes(thumbnails)
    low = dct(dct(thumbnails[0].astype(np.float64), axis=0), axis=1)[:8, :8]
    expected = "".join("1" if bit else "0" for bit in (low > np.median(low)).flatten())
    assert f"{int(hashes[0]):064b}" == expected
    distances = [(int(hashes[0]) ^ int(other)).bit_count() for other in hashes]
    assert distances[1] <= 4
    assert distances[2] > 16
    assert hashes[3] == 1 << 63  # nothing but its mean


def test_models_that_cannot_serve_are_said(root: Path, tmp_path: Path) -> None:
    config, weights = str(root / "tiny.json"), str(root / "b32.safetensors")
    for each, message in (
        (ModelChoice(config, weights, "b16"), "--as b16 is unknown"),
        (ModelChoice("ViT-B-33", weights, "b32"), "open_clip has no model 'ViT-B-33'"),
        (ModelChoice("ViT-B-16-SigLIP", weights, "b32"), "is not a plain CLIP"),
        (ModelChoice("ViT-B-32", "nobody", "b32"), "open_clip has no weights 'nobody'"),
        (ModelChoice("ViT-B-32", None, "b32"), "comes without weights"),
        (ModelChoice(config, str(tmp_path / "absent.safetensors"), "b32"), "There are no weights"),
        (ModelChoice(str(tmp_path), None, "b32"), "holds no finished run"),
    ):
        with pytest.raises(UsageError, match=message):
            find_model(each)
    larger = tmp_path / "larger.json"
    larger.write_text(json.dumps({"model_cfg": CONFIG | {"embed_dim": 24}}))
    with pytest.raises(EvaluationError, match="Tensor"):
        load_model(find_model(ModelChoice(str(larger), weights, "b32")), "cpu")
    for choices in ((), (choice(root, "b32"), choice(root, "b32"))):
        with pytest.raises(UsageError, match="Annotating needs a model"):
            annotate_pool(root / "pool" / "shards", tmp_path / "o", AnnotateOptions(choices))


def test_a_run_of_ours_is_a_model(root: Path, tmp_path: Path) -> None:
    competition = find_competition("digits")
    recipe = competition.recipes[0]
    record = json.loads((ROOT / "tests" / "data" / "records" / "v1" / "training_report.json").read_text())
    record |= {"competition": "digits", "recipe": recipe.id, "recipe_digest": recipe.digest}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "training_report.json").write_text(json.dumps(record))
    weights = build_clip(recipe.architecture, seed=3).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "run" / "model.safetensors")
    run = ModelChoice(str(tmp_path / "run"), None, "b32")
    report = annotate_pool(root / "pool" / "shards", tmp_path / "out", AnnotateOptions((run,), batch=50))
    assert [each["name"] for each in report.models] == ["run"]
    path = list_metadata(tmp_path / "out")[0]
    assert read_feature(path, "b32_img").shape[1] == recipe.architecture.embed_dim
    expected = load_encoder(recipe, tmp_path / "run" / "model.safetensors", torch.device("cpu"))
    texts = pq.read_table(path)["text"].to_pylist()
    assert np.allclose(read_feature(path, "b32_txt"), expected.encode_texts(texts), atol=1e-3)
    with pytest.raises(UsageError, match="has its own weights"):
        find_model(ModelChoice(run.model, "openai", "b32"))


def test_the_command_annotates_with_two_models(root: Path, made: tuple[Path, AnnotateReport], tmp_path: Path) -> None:
    arguments = ["pool", "annotate", "-i", str(root / "pool" / "shards"), "-o", str(tmp_path / "out"), "--batch", "50"]
    for role in ("b32", "l14"):
        arguments += [
            "--model",
            str(root / "tiny.json"),
            "--pretrained",
            str(root / f"{role}.safetensors"),
            "--as",
            role,
        ]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == made[1].as_json()
    assert contents(tmp_path / "out") == contents(made[0])
    one = CliRunner().invoke(app, [*arguments, "--as", "b32"])
    assert isinstance(one.exception, UsageError)
