"""The model card of a submission: Hub metadata with the results, and a page for people."""

from __future__ import annotations

import json

from competition.records.evaluation import EvaluationReport, TaskResult
from competition.records.lineage import DatasetLineage
from competition.records.submission import value_text
from competition.rules import Competition, Scale


def render(
    competition: Competition, scale: Scale, method_name: str, description: str, evaluation: EvaluationReport
) -> str:
    """The card's text: YAML front matter with a ``model-index``, then a table of the self-reported results."""
    from huggingface_hub import EvalResult, ModelCardData

    suite = competition.suite
    data = ModelCardData(
        model_name=method_name,
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["datacup", competition.id, scale.id],
        eval_results=[
            EvalResult(
                task_type=suite.task(result.task).protocol.value.replace("_", "-"),
                dataset_type=suite.task(result.task).dataset,
                dataset_name=suite.task(result.task).title,
                metric_type=result.metric,
                metric_value=round(result.value, 6),
            )
            for result in evaluation.results
        ],
    )
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        f"# {_escape(method_name)}",
        "",
        f"An entry of the DataCup competition **{competition.title}**, scale **{scale.title}**.",
        f"The data set is the entry; training is fixed (recipe `{scale.recipe}`).",
        "",
        _escape(description),
        "",
        f"## Self-reported results ({evaluation.suite})",
        "",
        "| task | metric | value | 95 % interval |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [
        f"| {suite.task(result.task).title} | {result.metric} | {value_text(result.value)} | {_bounds(result)} |"
        for result in evaluation.results
    ]
    return "\n".join(lines) + "\n"


def _bounds(result: TaskResult) -> str:
    return "" if result.interval is None else f"{result.interval.low:.3f} to {result.interval.high:.3f}"


def render_lineage(lineage: DatasetLineage) -> str:
    """A section about how the dataset was made: one row a step."""
    lines = [
        "",
        "## How the dataset was made",
        "",
        "| step | runs | on | rows read | kept |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for step in lineage.steps:
        options = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in step.options.items())
        what = f"{step.operation}: {options}" if options else step.operation
        on = ", ".join(step.inputs) or "the pool"
        lines.append(f"| {step.name} | {_escape(what)} | {on} | {step.total:,} | {step.kept:,} |")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """A participant's words stay words: no HTML, no Markdown structure, in a page that others open."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]()#+-!|<>&" else character for character in text)
