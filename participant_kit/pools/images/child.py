"""The process that fetches one shard's images: img2dataset's own downloader, behind a guarded way to the web.

Started by ``shard.fetch_shard`` with a clean environment: img2dataset brings along pandas, albumentations (which looks
for updates of itself when it is imported) and wandb, and a stranger's picture may crash its decoder. The request is one
line of JSON on stdin; answers are lines of JSON on the first stdout. When stdin ends, the starter is gone, and so is
this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from participant_kit.pools.images import public_web
from participant_kit.pools.images.options import KEY_DIGITS, SHARD_SAMPLES
from participant_kit.pools.images.public_web import WebLimits

_ROBOTS = ["noai", "noimageai", "noindex", "noimageindex"]


class Reporter:
    """Sends messages to the starter; img2dataset may do with stdout what it likes."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")
        self._last = time.monotonic()
        self.rows = 0
        self.failure: OSError | None = None

    def send(self, message: dict[str, Any]) -> None:
        """One line of JSON."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def row(self) -> None:
        """One more row is done; the starter hears of it about once a second."""
        self.rows += 1
        if time.monotonic() - self._last > 1.0:
            self._last = time.monotonic()
            self.send({"rows": self.rows})


def main() -> None:
    """Serve one request."""
    reporter = Reporter(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_starter, daemon=True).start()
    public_web.install(WebLimits(**request["limits"]))
    try:
        _download(request, reporter)
    except OSError as error:
        reporter.failure = reporter.failure or error
    failure = reporter.failure
    if failure is not None:
        reporter.send({"errno": failure.errno, "path": str(failure.filename or request["folder"])})
    else:
        reporter.send({"rows": reporter.rows, "done": True})


def _die_with_starter() -> None:
    while sys.stdin.readline():
        pass
    os._exit(3)


def _download(request: dict[str, Any], reporter: Reporter) -> None:
    downloader = _downloader(request, reporter)
    downloader.download_shard((request["number"], request["rows"]))


def _downloader(request: dict[str, Any], reporter: Reporter) -> Any:
    """img2dataset's downloader with DataComp's settings."""
    with _without_what_is_not_used():
        from img2dataset.blurrer import BoundingBoxBlurrer  # type: ignore[import-untyped]
        from img2dataset.downloader import Downloader  # type: ignore[import-untyped]
        from img2dataset.resizer import Resizer  # type: ignore[import-untyped]

    blur = "face_bboxes" in request["columns"] and request["blur"]
    resizer = Resizer(
        image_size=request["image_size"],
        resize_mode="keep_ratio_largest",
        resize_only_if_bigger=True,
        encode_quality=request["quality"],
        encode_format="jpg",
        blurrer=BoundingBoxBlurrer() if blur else None,
    )
    return Downloader(
        sample_writer_class=_writer_class(reporter),
        resizer=resizer,
        thread_count=request["threads"],
        save_caption=True,
        extract_exif=True,
        output_folder=request["folder"],
        column_list=request["columns"],
        timeout=request["timeout"],
        number_sample_per_shard=SHARD_SAMPLES,
        oom_shard_count=KEY_DIGITS[0],
        compute_hash="sha256",
        verify_hash_type="sha256" if "sha256" in request["columns"] else None,
        encode_format="jpg",
        retries=request["retries"],
        user_agent_token=None,
        disallowed_header_directives=_ROBOTS,
        blurring_bbox_col="face_bboxes" if blur else None,
    )


@contextmanager
def _without_what_is_not_used() -> Iterator[None]:
    """img2dataset and webdataset import Ray and torch where they are, and wandb in any case, for services that are not
    asked for here: without them a process starts in a third of the time and takes half the memory."""
    hidden: dict[str, ModuleType | None] = {"ray": None, "torch": None, "wandb": ModuleType("wandb")}
    sys.modules.update(hidden)  # type: ignore[arg-type]
    yield
    for name in hidden:
        del sys.modules[name]


def _writer_class(reporter: Reporter) -> type[Any]:
    """img2dataset prints what its writer raises and goes on with the next sample: here a full disk is remembered."""
    from img2dataset.writer import WebDatasetSampleWriter  # type: ignore[import-untyped]

    class Writer(WebDatasetSampleWriter):  # type: ignore[misc]
        def write(self, *args: Any) -> None:
            try:
                super().write(*args)
            except OSError as error:
                reporter.failure = reporter.failure or error
                raise
            reporter.row()

    return Writer


if __name__ == "__main__":
    main()
