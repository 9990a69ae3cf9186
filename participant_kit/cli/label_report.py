"""How a new labelled dataset is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        shown["  repeats" if report.strategy == "balance" else "  further labels of a sample"] = f"{report.repeats:,}"
    shown["classes"] = f"{balance['coverage']:,} of {balance['classes']:,} have samples"
    shown["  samples of a class"] = f"{balance['least']:,} to {balance['most']:,}, median {balance['median']:,.0f}"
    shown["  below 500 samples"] = f"{balance['few']:,}"
    largest = _named(report.largest_classes, len(report.largest_classes))
    shown["  largest 5 %"] = f"{balance['largest_share']:.1f} % of all samples: {largest}"
    if "unmapped_labels" in report.notes:
        labels = report.notes["unmapped_labels"]
        frequent = _named(report.notes["most_frequent_unmapped"], labels)
        shown["unmapped labels"] = f"{labels:,}: {frequent}" if labels else "none"
    shown |= {"table": save_path, "subset": save_path.with_name(report.subset)}
    if "removed_table" in report.notes:
        shown["removed rows"] = save_path.with_name(report.notes["removed_table"])
    console.pairs(report.as_json(), shown)
    for warning in _warnings(report):
        console.note(f"Warning: {warning}")
    shards = (metadata_dir.parent if metadata_dir is not None else Path("POOL")) / "shards"
    console.next_step(f"datacup reshard -i {shards} -o shards/{save_path.stem} -s {save_path.with_name(report.subset)}")


def _warnings(report: LabelledReport) -> list[str]:
    warnings = []
    if report.missing:
        warnings.append(f"{report.kept + report.missing:,} samples were asked for; {report.kept:,} are there.")
    if report.notes.get("queries_with_fewer_neighbours"):
        warnings.append(
            f"--neighbours {report.options['neighbours']:,} is more than the pool has samples with features."
        )
    if report.notes.get("without_features"):
        warnings.append(f"{report.notes['without_features']:,} samples have no features, and were not judged.")
    if report.notes.get("models_not_converged"):
        warnings.append(f"{report.notes['models_not_converged']} of the classifiers were not fitted to the end.")
    lists = {
        "classes without a sample": report.empty_classes,
        "classes that share all their names with others": report.notes.get("classes_without_lemma"),
        "classes without a reference": report.notes.get("classes_without_reference"),
        "names with punctuation, which captions lose before they are compared": report.notes.get(
            "lemmas_with_punctuation"
        ),
        "classes that could not be filled": list(report.notes.get("unfilled_classes", ())),
        "classes too small to be judged": report.notes.get("classes_not_judged"),
        "labels of the mapping that no row has": report.notes.get("mapped_labels_without_sample"),
    }
    if report.options["per_class"]:
        lists[f"classes with fewer than {report.options['per_class']:,} samples"] = report.few_images
    return warnings + [f"{said} ({len(names):,}): {_listed(names)}." for said, names in lists.items() if names]


def _named(pairs: Sequence[Sequence[Any]], number: int) -> str:
    """The first of a number of names, each with its count."""
    more = f" and {number - _SHOWN:,} more" if number > _SHOWN else ""
    return ", ".join(f"{name} ({count:,})" for name, count in pairs[:_SHOWN]) + more


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
