"""The training curve of a run as a picture: loss and learning rate over the samples seen."""

from __future__ import annotations

import io
import json
from pathlib import Path

from competition.data.atomic import write_bytes


def draw_curve(log: Path, picture: Path, title: str) -> None:
    """Draw the curve of a ``train_log.jsonl`` as SVG (raises ``StorageError``). The same log gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    samples = [line["samples"] for line in lines]
    with mpl.rc_context({"svg.hashsalt": "datacup", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        FigureCanvasSVG(figure)
        loss = figure.add_subplot()
        loss.plot(samples, [line["loss"] for line in lines], color="#1f5fa8", linewidth=1.5)
        loss.set(title=title, xlabel="samples seen", ylabel="loss")
        loss.yaxis.label.set_color("#1f5fa8")
        loss.grid(alpha=0.3)
        rate = loss.twinx()
        rate.plot(samples, [line["learning_rate"] for line in lines], color="#b4531f", linewidth=1, linestyle="--")
        rate.set_ylabel("learning rate", color="#b4531f")
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    write_bytes(picture, stream.getvalue())
