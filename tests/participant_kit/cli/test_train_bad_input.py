"""What `datacup train` says to bad input: one sentence and the exit code of its kind, and nothing is lost."""

from __future__ import annotations

import gc
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.data.shards import Sample, write_shard
from tests.competition.verification.entries import COMPETITION_YAML
from tests.conftest import ROOT
from tests.forks import Forks
from tests.participant_kit.cli.typed import Typed, refused, typed
from tests.participant_kit.train.conftest import make_sample
from tests.participant_kit.train.test_distributed import processes

WORDS = ("train", "--data-dir", "shards", "--output-dir", "runs", "--exp-name", "mine")
OPTIMIZER = "optimizer: {learning_rate: 0.001, warmup_steps: 2}"
SAMPLES = [make_sample(number) for number in range(16)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with shards to train on."""
    monkeypatch.chdir(tmp_path)
    write(SAMPLES)
    return tmp_path


def rules(*changes: tuple[str, str]) -> tuple[str, ...]:
    """Options for a competition whose recipe takes a second, changed in places; each is a file of its own."""
    text = COMPETITION_YAML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = Path.cwd() / f"rules-{len(list(Path.cwd().glob('rules-*')))}.yaml"
    path.write_text(text)
    return "--competition", str(path), "--scale", "nano", "--workers", "0", "--device", "cpu"


def tolerant(share: float) -> tuple[str, ...]:
    return rules(("global_batch: 8", f"global_batch: 8\n    corrupt_tolerance: {share}"))


def write(samples: list[Sample], name: str = "shards") -> None:
    Path(name).mkdir(exist_ok=True)
    write_shard(Path(name), 0, samples)


def changed(number: int, **members: bytes | None) -> list[Sample]:
    """The samples, one of them with other members, or without some."""
    found = {**SAMPLES[number].members, **members}
    sample = Sample(SAMPLES[number].key, {name: content for name, content in found.items() if content is not None})
    return [*SAMPLES[:number], sample, *SAMPLES[number + 1 :]]


def train(*words: str, under: tuple[str, ...] = ()) -> Typed:
    return typed(*WORDS, *(under or rules()), *words)


def train_refused(code: int, *words: str, under: tuple[str, ...] = ()) -> str:
    result = refused(*WORDS, *(under or rules()), *words)
    assert result.code == code
    return result.err


DATACUP = "from participant_kit.cli import main\nmain()\n"


def torchrun(count: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in so many processes that PyTorch's launcher starts."""
    program = Path("datacup")
    program.write_text(DATACUP)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count))
    command = [sys.executable, "-W", "ignore", *launcher, str(program), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_a_wrong_recipe_id_lists_those_there_are() -> None:
    _, path, *_ = rules()
    result = refused(*WORDS, "--competition", path, "--recipe", "tiny-nona")
    assert result.code == 2
    assert "'tiny' has no recipe 'tiny-nona'" in result.err
    assert "tiny-nano" in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_missing_and_empty_shards(check: tuple[str, ...]) -> None:
    assert "There is no folder nowhere." in train_refused(6, "--data-dir", "nowhere", *check)
    Path("empty").mkdir()
    assert "empty holds no training data" in train_refused(6, "--data-dir", "empty", *check)
    Path("empty", "00000000.tar").write_bytes(bytes(10_240))
    assert "The 1 shards of empty hold no sample." in train_refused(6, "--data-dir", "empty", *check)
    Path("empty", "00000000.tar").write_bytes(b"")
    assert "00000000.tar" in train_refused(3, "--data-dir", "empty", *check)
    assert not Path("runs").exists()


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_tar_that_is_cut_short(share: float) -> None:
    shard = Path("shards/00000000.tar")
    content = shard.read_bytes().rstrip(b"\0")
    shard.write_bytes(content[: int(share * len(content))])
    assert str(shard) in train_refused(3)
    assert str(shard) in train_refused(3, "--check")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("members", "reason"),
    [({"jpg": None}, "it has no image"), ({"txt": None}, "it has no caption"), ({"jpg": b""}, "it is no jpeg")],
)
def test_a_sample_without_image_or_caption_is_counted_and_bounded(
    members: dict[str, bytes | None], reason: str
) -> None:
    write(changed(5, **members))
    message = train_refused(6)
    assert "'000000005' of shard shards/00000000.tar is corrupt" in message
    assert reason in message
    assert "1 of 16 samples are, and the recipe tolerates 0" in message
    assert reason in train_refused(6, "--check")
    done = train("--json", under=tolerant(0.1))
    assert done.code == 0, done.err
    assert json.loads(done.out)["data"]["corrupt_samples"] == 1


def picture(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def huge_png(side: int) -> bytes:
    """A sound PNG of black pixels, one bit each, made without holding them."""
    packer, row = zlib.compressobj(9), bytes(1 + side // 8)
    data = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1)])
def test_small_and_narrow_images_are_trained_on(width: int, height: int) -> None:
    write(changed(5, jpg=None, png=picture(width, height)))
    done = train("--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["data"]["corrupt_samples"] == 0


@pytest.mark.slow
def test_an_image_of_20_000_by_20_000_pixels_is_refused_and_not_decoded(forks: Forks) -> None:
    """As RGB it would take 1.2 GB, beside the 0.4 GB that one byte a pixel takes."""
    png = huge_png(20_000)
    assert len(png) < 200_000
    write(changed(5, jpg=None, png=png))
    assert peak_memory(forks, "mine", corrupt=1) < peak_memory(forks, "without", corrupt=0) + 150
    write(changed(5, jpg=None, png=png))
    assert "pixels" in train_refused(6, "--exp-name", "strict")


def peak_memory(forks: Forks, name: str, *, corrupt: int) -> int:
    """Of a run in a process of its own, in MiB; afterwards the shards are sound."""
    done = forks.run(DATACUP, *WORDS, *tolerant(0.1), "--exp-name", name, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["corrupt_samples"] == corrupt
    write(SAMPLES)
    return int(json.loads(Path(f"runs/{name}/train_log.jsonl").read_text().splitlines()[-1])["peak_memory_mib"])


def check_division(said: str) -> None:
    """That the batch does not divide is said by one process of three, without a traceback, and nothing is trained."""
    assert said.count("Error: A batch of 8 samples does not divide among 3 processes.") == 1
    assert "Numbers of processes that fit, near yours: 1, 2, 4, 8." in said
    assert "participant_kit/" not in said.replace("participant_kit.cli", "")
    assert not Path("runs/mine/train_log.jsonl").exists()


@pytest.mark.slow
def test_processes_that_do_not_divide_the_batch() -> None:
    done = torchrun(3, *WORDS, *rules())
    assert done.returncode != 0
    check_division(done.stderr)


@pytest.mark.slow
def test_a_check_of_processes_that_do_not_divide_the_batch(forks: Forks) -> None:
    runs = processes(forks, 3, DATACUP, *WORDS, *rules(), "--check")
    assert all(done.returncode for done in runs)
    check_division("".join(done.stderr for done in runs))


@pytest.mark.slow
def test_two_processes_check_together(forks: Forks) -> None:
    runs = processes(forks, 2, DATACUP, *WORDS, *rules(), "--check", "--json")
    assert [done.returncode for done in runs] == [0, 0], [done.stderr for done in runs]
    report = json.loads("".join(done.stdout for done in runs))  # of one of them
    assert (report["processes"], report["global_batch"], report["time"]["probe_steps"]) == (2, 8, 12)
    assert not Path("runs").exists()


def test_a_check_as_json_and_as_a_table() -> None:
    done = train("--check", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["recipe"], report["steps"], report["data"]["samples"]) == ("tiny-nano", 12, 16)
    shown = train("--check")
    assert shown.code == 0
    for line in ("steps                12", "samples              16", "uids                 16 distinct; no two"):
        assert line in shown.out
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoint_before() -> None:
    """On a disk of its own, which has room for one checkpoint and not for the next."""
    Path("runs").mkdir()
    found = json.loads(train("--check", "--json").out)["disk"]
    size = int(found["checkpoint_bytes"] * 1.6)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "runs"]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a disk")
    try:
        assert "MiB more to runs/mine" in train_refused(4, "--check")
        assert "There is no space left on the device while writing" in train_refused(4)
        (kept,) = Path("runs/mine/checkpoints").iterdir()
        assert kept.name == "step-00000003"
        subprocess.run(["mount", "-o", "remount,size=64m", "runs"], check=True)
        assert train().code == 0
        broken = Path("runs/mine/model.safetensors").read_bytes()
    finally:
        gc.collect()  # an error's frames may still hold maps of the run's index, which would end with a real command
        subprocess.run(["umount", "runs"], check=True)
    assert train().code == 0
    assert Path("runs/mine/model.safetensors").read_bytes() == broken


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint() -> None:
    """Decay multiplies every weight by -99 at each step: after step 3 all are finite, and soon no longer."""
    under = rules((OPTIMIZER, "optimizer: {learning_rate: 0.001, weight_decay: 100000, warmup_steps: 0}"))
    message = train_refused(10, under=under)
    assert "training has diverged." in message
    assert "The last good checkpoint is kept in runs/mine/checkpoints" in message
    names = [path.name for path in Path("runs/mine/checkpoints").iterdir()]
    assert "step-00000003" in names
    assert not [name for name in names if name.startswith(".")]
    assert not Path("runs/mine/model.safetensors").exists()
    assert "training would diverge" in train_refused(10, "--exp-name", "checked", "--check", under=under)
