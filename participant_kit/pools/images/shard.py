"""One shard of images: its rows, the process that fetches them, and what must be true before the shard counts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from competition.data.atomic import make_folder, storage_error, storage_errors, write_bytes
from competition.data.metadata import column_types, read_columns
from competition.data.shards import SHARD_FORMAT, STATS_FORMAT, scan_samples
from competition.data.tar import open_tar
from competition.errors import DataCupError, DataFormatError, ServiceUnavailableError
from participant_kit.pools.images.failures import NO_NETWORK, SUCCESS, by_kind
from participant_kit.pools.images.options import KEY_DIGITS, ImageOptions

LOG_FORMAT = "{:08d}.parquet"
_WORK = ".work"
_PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
_SET = {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "OMP_NUM_THREADS": "1",
    # A picture of 30 kB can claim 30,000 x 30,000 pixels; this many take a gigabyte.
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 28),
}

RowsHook = Callable[[int, int], None]
"""Called with a shard's number and how many of its rows are done."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Rows ``start : stop`` of a source, or of the rows of it that the file ``picks`` names.

    Args:
        number: the shard's.
        shards: the folder of shards.
        source: a parquet file with ``uid``, ``url`` and ``text``, perhaps ``sha256`` and ``face_bboxes``.
        start: first.
        stop: after the last.
        picks: an ``.npy`` of row numbers of the source.
        round: the shard's, from 1.
        later: the same files of the rounds after it, in order; they name rows that this shard did not get.
    """

    number: int
    shards: Path
    source: Path
    start: int
    stop: int
    picks: Path | None = None
    round: int = 1
    later: tuple[Path, ...] = ()

    @property
    def latest_round(self) -> int:
        """The round in which the shard is fetched now: a later one than its own when it is fetched once more."""
        return self.round + len(self.later)

    @property
    def name(self) -> str:
        """For messages."""
        return SHARD_FORMAT.format(self.number)

    @property
    def log(self) -> Path:
        """img2dataset's table of what became of every row."""
        return self.shards / LOG_FORMAT.format(self.number)

    @property
    def stats(self) -> Path:
        """The file that makes a shard complete: it comes last."""
        return self.shards / STATS_FORMAT.format(self.number)

    def rows(self, fetched_in: int) -> NDArray[np.int64]:
        """Row numbers of the source, in the order of the shard. One that is fetched once more in a later round leaves
        out what the rounds after its own have tried, so that no sample gets into two shards."""
        rows = np.arange(self.start, self.stop) if self.picks is None else _load(self.picks)[self.start : self.stop]
        for path in self.later[: fetched_in - self.round]:
            if path.exists():
                rows = np.setdiff1d(rows, _load(path), assume_unique=True)
        return rows.astype(np.int64)


def _load(path: Path) -> NDArray[Any]:
    with storage_errors("reading", path):
        rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def read_stats(task: ShardTask) -> dict[str, Any] | None:
    """The statistics of a complete shard; ``None`` when it has to be fetched (again).

    Complete is a shard whose tar has the length that its statistics tell, and whose log is there: a torn, shortened or
    deleted file of an earlier run is found without reading it.
    """
    try:
        stats = json.loads(task.stats.read_bytes())
        tar_bytes = (task.shards / task.name).stat().st_size
        rows, fetched_in = stats["planned"], stats["round"]
        whole = stats["tar_bytes"] == tar_bytes and rows == task.stop - task.start and task.log.exists()
        whole = whole and task.round <= fetched_in <= task.latest_round
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stats if whole and isinstance(stats.get("status_dict"), dict) else None


def fetched_here(tar: Path) -> bool:
    """Whether a tar is a shard that ``fetch_shard`` completed, as the statistics beside it tell."""
    try:
        return "tar_bytes" in json.loads(tar.with_name(f"{tar.stem}_stats.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def failed_rows(task: ShardTask) -> NDArray[np.int64]:
    """Row numbers of the source whose images a complete shard could not get, ascending.

    Raises:
        DataFormatError: the shard's log is damaged.
    """
    rows = task.rows(int((read_stats(task) or {"round": task.round})["round"]))
    try:
        with pq.ParquetFile(task.log, memory_map=True) as parquet:
            log = parquet.read(columns=["key", "status"]).to_pydict()
        places = [
            int(key[-KEY_DIGITS[1] :])
            for key, status in zip(log["key"], log["status"], strict=True)
            if status != SUCCESS
        ]
        return np.sort(rows[np.array(places, dtype=np.int64)])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise DataFormatError(
            f"The log {task.log} of shard {task.name} is damaged.",
            hint="Delete it and run the same command again: that shard is then fetched anew.",
        ) from error


def fetch_shard(options: ImageOptions, report: RowsHook | None, task: ShardTask) -> int:
    """Fetch one shard; returns the images it holds. The tar and its log come before the statistics.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
        ServiceUnavailableError: there is no network: every single row failed for that reason; nothing is kept.
        DataFormatError: the source lacks a column or is damaged.
        RuntimeError: the process died, or lost rows.
    """
    work = task.shards / _WORK / f"{task.number:08d}"
    with storage_errors("clearing", work):
        shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    table = _rows(task, options)
    _write(table, work / "rows.arrow")
    request = {
        "number": task.number,
        "rows": str(work / "rows.arrow"),
        "folder": str(work),
        "columns": table.column_names,
        "limits": asdict(options.limits),
        "blur": options.blur,
        "image_size": options.image_size,
        "quality": options.quality,
        "threads": options.threads,
        "timeout": options.timeout_s,
        "retries": options.retries,
    }
    done = _run(request, work, lambda rows: report(task.number, rows) if report else None)
    if done != table.num_rows:
        raise RuntimeError(f"img2dataset lost {table.num_rows - done} rows of shard {task.name}")
    return _adopt(task, work)


def _rows(task: ShardTask, options: ImageOptions) -> Any:
    """The shard's rows, a ``pyarrow.Table`` with the names and the order of columns that img2dataset gives them."""
    present = column_types(task.source).names
    wanted = {"uid": "uid", "face_bboxes": "face_bboxes", "text": "caption", "sha256": "sha256", "url": "url"}
    absent = {"face_bboxes", "sha256"} - set(present) | (set() if options.verify else {"sha256"})
    columns = [name for name in wanted if name not in absent]
    table = read_columns(task.source, columns).take(pa.array(task.rows(task.latest_round)))
    return table.rename_columns([wanted[name] for name in columns])


def _write(table: Any, path: Path) -> None:
    with storage_errors("writing", path), path.open("wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)


def _environment() -> dict[str, str]:
    """No token of the participant's reaches the process that opens strangers' addresses."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _SET


@contextmanager
def _child(work: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """The process, and its two pipes; it is gone when the block ends, however it ends."""
    command = [sys.executable, "-m", "participant_kit.pools.images.child"]
    with (
        (work / "output").open("wb") as output,
        subprocess.Popen(
            command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, process.stdin, process.stdout
        finally:
            process.kill()


def _run(request: dict[str, Any], work: Path, report: Callable[[int], None]) -> int:
    """Start the process and listen to it until it is done; returns the rows it has dealt with."""
    with storage_errors("writing", work), _child(work) as (process, requests, answers):
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        for line in answers:
            answer = json.loads(line)
            if "errno" in answer:
                failure = OSError(answer["errno"] or 0, os.strerror(answer["errno"] or 0))
                raise storage_error(failure, "writing", Path(answer["path"]))
            report(answer["rows"])
            if answer.get("done"):
                return int(answer["rows"])
        status = process.wait()
    raise RuntimeError(f"the process that fetches images ended with status {status}: {_last_line(work / 'output')}")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _adopt(task: ShardTask, work: Path) -> int:
    """Check what the process made, and give it its place."""
    stats = json.loads((work / task.stats.name).read_bytes())
    kinds = by_kind(stats["status_dict"])
    if kinds[NO_NETWORK] == stats["count"] > 0:
        raise ServiceUnavailableError(
            f"There is no network: not one of the {stats['count']} hosts of shard {task.name} could be looked up.",
            hint="Check the connection and run the same command again: complete shards are kept.",
        )
    tar = work / task.name
    held = _samples(tar)
    if held != stats["successes"]:
        raise RuntimeError(f"shard {task.name} holds {held} of its {stats['successes']} samples")
    stats |= {"tar_bytes": tar.stat().st_size, "planned": task.stop - task.start, "round": task.latest_round}
    with storage_errors("writing", task.shards):
        task.stats.unlink(missing_ok=True)
        for path, place in ((work / task.log.name, task.log), (tar, task.shards / task.name)):
            _sync(path)
            path.replace(place)
    write_bytes(task.stats, (json.dumps(stats, indent=4) + "\n").encode())
    shutil.rmtree(work, ignore_errors=True)
    return held


def _samples(tar: Path) -> int:
    try:
        with open_tar(tar) as buffer:
            return sum(1 for _ in scan_samples(buffer, tar))
    except DataCupError as error:
        raise RuntimeError(f"img2dataset left a damaged tar: {error.message}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
