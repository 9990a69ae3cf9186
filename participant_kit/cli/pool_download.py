"""``datacup pool download``: a published pool, or one's own urls, with the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Engine, LocalEngine
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import EngineName, EngineOption, RayAddressOption, TaskLogOption

if TYPE_CHECKING:
    from participant_kit.pools.download import DownloadReport
    from participant_kit.pools.external import ExternalReport
    from participant_kit.pools.images import ImageOptions, ImagesReport


OutputDirOption = Annotated[
    Path | None, typer.Option("--output-dir", "-o", help="Where the pool goes; default: pools/<name>.")
]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", help="DataComp's small, medium, large or xlarge pool, or datacomp_1b.")
]
ShiftOption = Annotated[
    str | None,
    typer.Option(
        "--shift", help="A shift of ImageNet++: oi1000, la1000-i2i, la1000-t2i, sd1000-i2i, sd1000-t2i or in1000."
    ),
]
UrlsOption = Annotated[Path | None, typer.Option("--urls", help="Your own data: a parquet file of urls and captions.")]
UrlColOption = Annotated[str, typer.Option("--url-col", help="With --urls: the column of urls.")]
CaptionColOption = Annotated[str, typer.Option("--caption-col", help="With --urls: the column of captions.")]
Sha256ColOption = Annotated[
    str | None, typer.Option("--sha256-col", help="With --urls: digests that the images are verified by.")
]
RevisionOption = Annotated[
    str | None, typer.Option("--revision", help="Commit on the Hub; default: today's, recorded in pool.json.")
]
MetadataOnlyOption = Annotated[bool, typer.Option("--metadata-only", help="Leave the images.")]
FeaturesOption = Annotated[bool, typer.Option("--features", help="Get the CLIP features (npz), too.")]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, help="Shards at a time.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Connections of each process.")]
RetriesOption = Annotated[int, typer.Option("--retries", min=0, help="Further attempts for an image, at once.")]
TimeoutOption = Annotated[int, typer.Option("--timeout", min=1, help="Seconds that a host may be silent.")]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed/--no-retry-failed", help="Once all shards are there, try failed images again.")
]
BlurOption = Annotated[bool, typer.Option("--blur/--no-blur", help="Blur faces where the pool says they are.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Refuse images whose bytes are not the published ones.")
]
PrivateHostsOption = Annotated[
    bool, typer.Option("--allow-private-hosts", help="Fetch from addresses that are not public, too.")
]


def command(
    output_dir: OutputDirOption = None,
    scale: ScaleOption = None,
    shift: ShiftOption = None,
    urls: UrlsOption = None,
    url_col: UrlColOption = "url",
    caption_col: CaptionColOption = "text",
    sha256_col: Sha256ColOption = None,
    revision: RevisionOption = None,
    metadata_only: MetadataOnlyOption = False,
    features: FeaturesOption = False,
    processes: ProcessesOption = 16,
    threads: ThreadsOption = 128,
    retries: RetriesOption = 2,
    timeout: TimeoutOption = 10,
    retry_failed: RetryFailedOption = True,
    blur: BlurOption = True,
    verify: VerifyOption = True,
    private_hosts: PrivateHostsOption = False,
    engine: EngineOption = EngineName.LOCAL,
    ray_address: RayAddressOption = None,
    task_log: TaskLogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get a published pool, or the images of your own urls.

    Run it again to go on, to repair, and to retry what failed.
    """
    console = Console(as_json=as_json)
    if sum(value is not None for value in (scale, shift, urls)) != 1:
        raise UsageError("Name one pool: --scale, --shift or --urls.")
    if urls is not None and (revision is not None or features):
        raise UsageError("--revision and --features belong to pools of the Hub, not to --urls.")

    from participant_kit.pools.images import ImageOptions

    options = ImageOptions(
        processes,
        threads,
        blur=blur,
        verify=verify,
        retries=retries,
        timeout_s=timeout,
        retry_failed=retry_failed,
        private_hosts=private_hosts,
    )
    images = None if metadata_only else options
    with _engine(engine, ray_address, task_log, processes) as chosen:
        if urls is not None:
            columns = (url_col, caption_col, sha256_col)
            _external(console, urls, columns, output_dir or Path("pools") / urls.stem, (images, chosen))
        else:
            name = scale or shift or ""
            wanted = (revision, features, images)
            _published(console, name, scale is not None, output_dir or Path("pools") / name, (wanted, chosen))


@contextmanager
def _engine(name: EngineName, ray_address: str | None, log: Path | None, processes: int) -> Iterator[Engine]:
    """What fetches the images: this machine, or a cluster, which is left at the end."""
    if name is EngineName.LOCAL:
        if ray_address is not None:
            raise UsageError("--ray-address is given without --engine ray.", hint="Add --engine ray, or leave it away.")
        yield LocalEngine(processes, log=log)
        return
    from competition.data.ray_engine import RayEngine

    with RayEngine(ray_address, processes, log=log) as on_cluster:
        yield on_cluster


def _published(
    console: Console,
    name: str,
    is_scale: bool,
    folder: Path,
    wanted: tuple[tuple[str | None, bool, ImageOptions | None], Engine],
) -> None:
    from participant_kit.pools.catalogue import SCALES, SHIFTS, find_pool
    from participant_kit.pools.download import DownloadOptions, download_pool
    from participant_kit.settings import KitSettings

    pool = find_pool(name, SCALES if is_scale else SHIFTS)
    (revision, features, images), engine = wanted
    options = DownloadOptions(KitSettings().hub_endpoint, revision, features=features, images=images)
    with console.progress(f"Downloading {pool.title}") as progress:
        report = download_pool(pool, folder, options, engine=engine, progress=progress)
    _show_published(console, report, folder)
    if is_scale:
        console.next_step(
            f"datacup subset clip_score --fraction 0.3 --metadata-dir {folder}/metadata --save-path subset.npy"
        )
    else:
        console.next_step(f"datacup pool import {folder}/{pool.folder} -o {folder}-pool")


def _show_published(console: Console, report: DownloadReport, folder: Path) -> None:
    shown: dict[str, object] = {
        "pool": report.pool,
        "from": f"{report.repo} at {report.revision}",
        "files": f"{report.files:,} ({report.bytes / 1e9:,.2f} GB), of which {report.files_fetched:,} were fetched now",
    }
    shown |= _images_shown(report.images)
    console.pairs({**report.model_dump(mode="json"), "folder": str(folder)}, shown | {"folder": folder})
    _advise(console, report.images)


def _external(
    console: Console,
    urls: Path,
    columns: tuple[str, str, str | None],
    folder: Path,
    wanted: tuple[ImageOptions | None, Engine],
) -> None:
    from participant_kit.pools.external import UrlFile, download_urls

    images, engine = wanted
    with console.progress(f"Downloading the images of {urls.name}") as progress:
        report: ExternalReport = download_urls(
            UrlFile(urls, *columns), folder, images, engine=engine, progress=progress
        )
    rows = report.urls
    shown: dict[str, object] = {"rows": f"{rows.rows:,}", "  dropped: without a url": f"{rows.without_url:,}"}
    shown |= {"samples": f"{rows.samples:,}", "  without a caption": f"{rows.without_caption:,}"}
    shown |= {"  url and caption of another": f"{rows.repeated:,}"} | _images_shown(report.images)
    console.pairs({**report.model_dump(mode="json"), "folder": str(folder)}, shown | {"folder": folder})
    _advise(console, report.images)
    console.next_step(
        f"datacup pool annotate -i {folder}/shards -o {folder}/metadata --model ViT-B-32 --pretrained openai"
    )


def _images_shown(report: ImagesReport | None) -> dict[str, object]:
    if report is None:
        return {}
    shown: dict[str, object] = {
        "images": f"{report.images:,} of {report.rows:,} ({report.images / max(1, report.rows):.1%}), "
        f"in {report.shards:,} shards",
        "  fetched now": f"{report.fetched:,}",
    }
    return shown | {f"  failed: {kind}": f"{count:,}" for kind, count in report.failed.items()}


def _advise(console: Console, report: ImagesReport | None) -> None:
    failed = sum(report.failed.values()) if report is not None else 0
    if failed:
        console.note(f"{failed:,} images could not be had. Run the same command again to try these, and only these.")
