"""Which rows go into which shard. The first round is every row of every source, in order; a further round is what all
rounds before it could not get, in shards of their own whose numbers go on.

A shard holds rows of one source, so the last shard of a source is a short one, as in DataComp's pools. The record
``rounds.json`` and one ``.npy`` of row numbers for each source and further round are all there is to know: whether a
shard is complete is seen at the shard.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from competition.data.atomic import atomic_writer, make_folder, storage_errors, write_bytes
from competition.data.metadata import row_count
from competition.errors import DataFormatError, UsageError
from competition.records.base import Record
from participant_kit.pools.images.options import SHARD_SAMPLES, ImageOptions
from participant_kit.pools.images.shard import ShardTask, failed_rows, fetched_here, read_stats
from participant_kit.pools.places import refuse_foreign_shards

ROUNDS_FILE = "rounds.json"


class RoundsRecord(Record):
    """Content of ``rounds.json``: for each round, the sources' names and how many of their rows it tries."""

    content: dict[str, object]
    rounds: tuple[tuple[tuple[str, int], ...], ...]


@dataclass
class Rounds:
    """All rounds so far.

    Args:
        folder: where the record is kept.
        shards: the folder of shards.
        sources: parquet files, sorted by name.
        record: what is known.
    """

    folder: Path
    shards: Path
    sources: tuple[Path, ...]
    record: RoundsRecord = field(repr=False)

    @classmethod
    def open(cls, folder: Path, shards: Path, sources: tuple[Path, ...], options: ImageOptions) -> Rounds:
        """Go on with the rounds recorded in ``folder``, or start with the first.

        Raises:
            UsageError: the shards were begun from other sources or with other options, or not by a download.
            DataFormatError: a source or the record is damaged.
        """
        first = tuple((source.name, row_count(source)) for source in sources)
        path = folder / ROUNDS_FILE
        if not path.exists():
            refuse_foreign_shards(shards, path, fetched_here)
            rounds = cls(folder, shards, sources, RoundsRecord(content=options.content, rounds=(first,)))
            rounds._save()
            return rounds
        with storage_errors("reading", path):
            data = path.read_bytes()
        try:
            record = RoundsRecord.model_validate_json(data)
        except ValidationError as error:
            raise DataFormatError(
                f"{path} is damaged.", hint="Fetch the images into another folder, or delete it and the shards."
            ) from error
        if record.content != options.content:
            was = ", ".join(f"{name} {value}" for name, value in record.content.items())
            raise UsageError(
                f"The images in {shards} were begun with other options ({was}).",
                hint="Use the same, or another folder.",
            )
        if record.rounds[0] != first:
            raise UsageError(
                f"The images in {shards} were begun from other metadata than is here now: "
                f"{len(record.rounds[0])} files then, {len(first)} now, or other row counts.",
                hint="Restore the metadata, or fetch the images into another folder.",
            )
        return cls(folder, shards, sources, record)

    @property
    def number(self) -> int:
        """Of the latest round, from 1."""
        return len(self.record.rounds)

    def tasks(self) -> Iterator[ShardTask]:
        """The shards of all rounds in order."""
        sources = {source.name: source for source in self.sources}
        number = 0
        for place, tried in enumerate(self.record.rounds, start=1):
            for name, rows in tried:
                source = sources[name]
                picks = self._picks(source, place) if place > 1 else None
                later = tuple(self._picks(source, after) for after in range(place + 1, self.number + 1))
                for start in range(0, rows, SHARD_SAMPLES):
                    stop = min(start + SHARD_SAMPLES, rows)
                    yield ShardTask(number, self.shards, source, start, stop, picks, place, later)
                    number += 1

    def add_round(self) -> int:
        """Plan a further round for the rows that failed when they were tried last; all shards must be complete.

        Returns:
            Rows to try again; without any, no round is added.
        """
        folder = self.folder / f"round-{self.number + 1}"
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        make_folder(folder)
        planned: list[tuple[str, int]] = []
        for source, tasks in groupby(sorted(self.tried_last(), key=_by_source), key=lambda task: task.source):
            rows = np.sort(np.concatenate([failed_rows(task) for task in tasks]))
            if len(rows):
                with atomic_writer(self._picks(source, self.number + 1)) as stream:
                    np.save(stream, rows.astype(np.uint32), allow_pickle=False)
                planned.append((source.name, len(rows)))
        if planned:
            rounds = (*self.record.rounds, tuple(planned))
            self.record = RoundsRecord(content=self.record.content, rounds=rounds)
            self._save()
        return sum(count for _, count in planned)

    def tried_last(self) -> Iterator[ShardTask]:
        """The shards that were fetched in the latest round: its own, and those of earlier rounds that were damaged."""
        return (task for task in self.tasks() if (read_stats(task) or {}).get("round") == self.number)

    def _picks(self, source: Path, number: int) -> Path:
        return self.folder / f"round-{number}" / f"{source.stem}.npy"

    def _save(self) -> None:
        make_folder(self.folder)
        content = json.dumps(self.record.model_dump(mode="json"), indent=1)
        write_bytes(self.folder / ROUNDS_FILE, (content + "\n").encode())


def _by_source(task: ShardTask) -> tuple[str, int]:
    return task.source.name, task.number
