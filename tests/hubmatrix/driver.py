"""Runs in a light environment: everything that DataCup asks the Hub's client for, and what came of it as JSON.

The request comes on stdin: ``endpoint`` and ``closed``, a Hub and an address where nothing answers; ``folder``, a
sealed submission folder; ``scratch``; the repository's ``name``; ``competition``, its rules.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from competition.errors import DataCupError
from competition.hub import hub_api
from competition.records.evaluation import EvaluationReport
from competition.rules import parse_competition
from participant_kit import card
from participant_kit.hub import HubTarget, resolve_repo, upload
from scorer.fetch import fetch
from scorer.mirror import Mirror, Source

PATH = "tiny/filtering/nano/sub-1"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Card, login, upload, upload again, fetch at the commit, and the failures that have sentences of their own."""
    endpoint, folder, scratch = request["endpoint"], Path(request["folder"]), Path(request["scratch"])
    switched = {"https://huggingface.co": _xet_is_off("https://huggingface.co"), endpoint: _xet_is_off(endpoint)}
    target = resolve_repo(endpoint, request["name"])
    sha = upload(target, folder, PATH, "An entry")
    again = upload(target, folder, PATH, "The same entry")
    source = Source(endpoint=endpoint, repo=target.repo, revision=sha, path=PATH)
    mirror = Mirror(scratch / "mirror")
    manifest = fetch("sub-1", source, mirror, lambda _manifest: None, None)
    gone = source.model_copy(update={"revision": "0" * 40})
    closed = source.model_copy(update={"endpoint": request["closed"]})
    return {
        "card": _card(request),
        "xet_is_off": switched,
        "page": _page(endpoint, target.repo, scratch),
        "repo": target.repo,
        "sha": sha,
        "again": again,
        "files": {file.path: str(mirror.verified(file.sha256)) for file in manifest.files},
        "foreign": _said(lambda: upload(HubTarget(endpoint, "grace/entry"), folder, PATH, "No")),
        "gone": _said(lambda: fetch("sub-2", gone, mirror, lambda _manifest: None, None)),
        "closed": _said(lambda: fetch("sub-3", closed, mirror, lambda _manifest: None, None)),
        **_client(),
    }


def _card(request: dict[str, Any]) -> dict[str, Any]:
    """What the client itself reads from the model card that we write."""
    from huggingface_hub import ModelCard

    rules = parse_competition(request["competition"].encode(), name="tiny.yaml")
    evaluation = EvaluationReport.model_validate_json((Path(request["folder"]) / "evaluation_report.json").read_bytes())
    text = card.render(rules, rules.scales[0], "A *name*", "Words.", evaluation)
    data = ModelCard(text).data
    results = {each.dataset_type: each.metric_value for each in data.eval_results or ()}
    return {"name": data.model_name, "tags": data.tags, "results": results, "index": "model-index:" in text}


def _xet_is_off(endpoint: str) -> bool:
    hub_api(endpoint, answer_seconds=1.0)

    from huggingface_hub import constants

    return bool(constants.HF_HUB_DISABLE_XET)


def _page(endpoint: str, repo: str, scratch: Path) -> str:
    """The repository's front page."""
    api = hub_api(endpoint, answer_seconds=30.0)
    return Path(api.hf_hub_download(repo, "README.md", local_dir=scratch / "page")).read_text()


def _said(failing: Any) -> list[str]:
    try:
        failing()
    except DataCupError as error:
        return [type(error).__name__, getattr(error, "reason", ""), error.message]
    return []


def _client() -> dict[str, Any]:
    import huggingface_hub

    heavy = {"torch", "open_clip", "pyarrow", "polars"} & set(sys.modules)
    library = huggingface_hub.errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0]
    has_xet = importlib.util.find_spec("hf_xet") is not None
    return {"version": huggingface_hub.__version__, "library": library, "has_xet": has_xet, "heavy": sorted(heavy)}


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))  # noqa: T201 - its answer
