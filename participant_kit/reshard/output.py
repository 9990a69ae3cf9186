"""The output folder of a reshard: when it may be used, when it is finished, what is removed from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

from competition.data.atomic import PARTIAL_SUFFIX, make_folder, storage_errors, write_bytes
from competition.data.shards import SHARD_FORMAT
from competition.data.uids import UidArray, save_subset
from competition.errors import UsageError
from participant_kit.reshard.passes import WORK_FOLDER, Job, digest_of
from participant_kit.reshard.report import ReshardReport

META, SIZES, SAMPLE_IDS, MARKER = "meta.json", "sizes.json", "sample_ids.npy", "job"


def prepare_output(job: Job, input_dir: Path, input_digest: str, *, overwrite: bool) -> ReshardReport | None:
    """Make the output folder ready; returns the report of a finished run of the same job."""
    output_dir = job.output_dir
    make_folder(output_dir)
    if output_dir.resolve() == input_dir.resolve():
        raise UsageError(f"Input and output are the same folder {input_dir}.", hint="Choose another output folder.")
    marker, meta = job.work_dir / MARKER, output_dir / META
    found = marker.read_text() if marker.exists() else None
    ours = job.work_dir.exists() or meta.exists()
    if overwrite and ours:
        _clear(output_dir, marker)
    elif job.work_dir.exists() and (found is not None or not meta.exists()):  # unfinished
        if found not in {None, job.digest}:
            raise UsageError(
                f"The folder {output_dir} holds an unfinished reshard of another subset, shard size or version.",
                hint="Choose another output folder, or pass --overwrite.",
            )
    elif any(output_dir.iterdir()):
        finished = _finished(output_dir, job.digest, input_digest)
        if finished is None:
            raise UsageError(
                f"The output folder {output_dir} is not empty.",
                hint="Choose another folder" + (", or pass --overwrite." if ours else "."),
            )
        return finished
    make_folder(job.work_dir)
    write_bytes(marker, job.digest.encode())
    for folder in (output_dir, job.work_dir):
        for partial_file in folder.glob(f".*{PARTIAL_SUFFIX}"):
            partial_file.unlink(missing_ok=True)
    return None


def _finished(output_dir: Path, digest: str, input_digest: str) -> ReshardReport | None:
    """The report in ``meta.json`` if it is of this very job and every shard of it is there."""
    try:
        meta = json.loads((output_dir / META).read_bytes())
        report = ReshardReport(**{field.name: meta[field.name] for field in fields(ReshardReport)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = digest_of([report.code_version, report.subset_sha256, report.shard_size]) == digest
    names = [SHARD_FORMAT.format(number) for number in range(report.output_shard_count)]
    complete = all((output_dir / name).exists() for name in names)
    return report if same and complete and report.input_digest == input_digest else None


def _clear(output_dir: Path, marker: Path) -> None:
    """Remove what a reshard writes, and nothing else. The marker stays, so that a kill here leaves the folder ours."""
    make_folder(marker.parent)
    write_bytes(marker, b"being removed")
    with storage_errors("removing an earlier reshard from", output_dir):
        for pattern in (META, SIZES, SAMPLE_IDS, "*.tar", "*_stats.json", f"{WORK_FOLDER}/*"):
            for path in output_dir.glob(pattern):
                if path != marker:
                    path.unlink()


def finish(job: Job, report: ReshardReport, subset: UidArray, sizes: dict[str, int]) -> None:
    """The files beside the shards; ``meta.json`` last, since it says that the output is complete."""
    write_bytes(job.output_dir / SIZES, (json.dumps(sizes, indent=1) + "\n").encode())
    save_subset(job.output_dir / SAMPLE_IDS, subset)
    write_bytes(job.output_dir / META, (json.dumps(report.as_json(), indent=1) + "\n").encode())
    with storage_errors("removing", job.work_dir):
        shutil.rmtree(job.work_dir)
