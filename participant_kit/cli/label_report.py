"""How a new labelled dataset is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from participant_kit.cli.console import Console

if TYPE_CHECKING:
    from participant_kit.labelled.record import LabelledReport

_SHOWN = 5


def show_labelled(console: Console, report: LabelledReport, save_path: Path, metadata_dir: Path | None) -> None:
    """Rows in, rows dropped by reason, rows out, how they are spread over the classes; warnings on stderr."""
    balance = report.balance
    shown: dict[str, object] = {"strategy": report.strategy, "rows": f"{report.total:,}"}
    shown |= {f"  dropped: {reason.replace('_', ' ')}": f"{count:,}" for reason, count in report.dropped.items()}
    shown["kept"] = f"{report.kept:,} ({report.kept / max(1, report.total):.1%})"
    if report.repeats:
        shown["  further labels of a sample"] = f"{report.repeats:,}"
    shown["classes"] = f"{balance['coverage']:,} of {balance['classes']:,} have samples"
    shown["  samples of a class"] = f"{balance['least']:,} to {balance['most']:,}, median {balance['median']:,.0f}"
    shown["  below 500 samples"] = f"{balance['few']:,}"
    shown["  largest 5 %"] = f"{balance['largest_share']:.1f} % of all samples: {_named(report.largest_classes)}"
    if "unmapped_labels" in report.notes:
        frequent = [(label, count) for label, count in report.notes["most_frequent_unmapped"]]
        shown["unmapped labels"] = f"{report.notes['unmapped_labels']:,}" + (
            f": {_named(frequent)}" if frequent else ""
        )
    shown |= {"table": save_path, "subset": save_path.with_name(report.subset)}
    console.pairs(report.as_json(), shown)
    for warning in _warnings(report):
        console.note(f"Warning: {warning}")
    shards = (metadata_dir.parent if metadata_dir is not None else Path("POOL")) / "shards"
    console.next_step(f"datacup reshard -i {shards} -o shards/{save_path.stem} -s {save_path.with_name(report.subset)}")


def _warnings(report: LabelledReport) -> list[str]:
    warnings = []
    if report.missing:
        warnings.append(f"{report.options['size']:,} samples were asked for; {report.kept:,} are there.")
    if report.options["per_class"] and report.few_images:
        warnings.append(
            f"{len(report.few_images):,} classes have fewer than {report.options['per_class']:,} samples: "
            f"{_listed(report.few_images)}."
        )
    if report.empty_classes:
        warnings.append(f"{len(report.empty_classes):,} classes have no sample: {_listed(report.empty_classes)}.")
    lists = {
        "classes_without_lemma": "classes share all their names with others",
        "classes_without_reference": "classes have no reference",
        "lemmas_with_punctuation": "names hold punctuation, which captions lose before they are compared",
        "mapped_labels_without_sample": "labels of the mapping have no sample",
    }
    for note, said in lists.items():
        names = report.notes.get(note)
        if names:
            warnings.append(f"{len(names):,} {said}: {_listed(names)}.")
    return warnings


def _named(pairs: list[tuple[str, int]]) -> str:
    """The first names with their numbers."""
    more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
    return ", ".join(f"{name} ({count:,})" for name, count in pairs[:_SHOWN]) + more


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
