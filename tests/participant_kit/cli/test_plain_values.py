"""Values that are taken without pydantic are those that Typer takes, and what it refuses is refused in its words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._coercion import build_runtime_param

from participant_kit.cli import COMMANDS, app, plain_values
from participant_kit.cli.plain_values import _Plain

ROOT = Path(__file__).resolve().parents[3]

TEXTS = [
    "",
    " ",
    "a",
    "é",
    "x\0y",
    "1",
    "-1",
    "0",
    "-0",
    "007",
    "1_0",
    "+3",
    " 4 ",
    "٣",
    "1.5",
    "0.3",
    "-2.50",
    ".5",
    "1.",
]
TEXTS += ["1e3", "nan", "inf", "99999999999999999999", "true", "local", "ray", "LOCAL", "/", ".", "..", "no/such", "-"]
OTHERS: list[Any] = [None, 3, 0.5, True, b"x", ["a", "b"], ("1", "2"), [], Path("p")]


def parameters(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield from parameters(child, f"{path} {name}")
    for parameter in command.params:
        yield f"{path} {parameter.name}", parameter


def said(coercer: Any, value: Any, parameter: Any) -> tuple[str, str, Any]:
    try:
        taken = coercer.coerce(value, param=parameter, ctx=None)
    except Exception as error:  # noqa: BLE001 - the two are to be the same
        return type(error).__name__, str(error), None
    return "", type(taken).__name__, repr(taken)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_takes_what_typer_takes(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    values = [*TEXTS, *(str(tmp_path / part) for part in ("", "file", "dangling", "absent")), *OTHERS]
    group: Any = typer.main.get_command(app)
    for path, parameter in parameters(group.get_command(None, name), name):
        own = build_runtime_param(parameter.type_descriptor)
        for value in [*values, parameter.default]:
            plain = _Plain(parameter, lambda _parameter, own=own: own)
            assert said(plain, value, parameter) == said(own, value, parameter), (path, value)


def test_a_command_with_plain_values_starts_without_pydantic(tmp_path: Path) -> None:
    code = (
        "import sys; from participant_kit.cli import main\n"
        "try: main()\n"
        "except SystemExit as error: print(error.code)\n"
        "print(sorted({'pydantic', 'pyarrow', 'pandas', 'torch', 'multiprocessing'} & set(sys.modules)))"
    )
    words = ["reshard", "-i", str(tmp_path / "absent"), "-o", str(tmp_path / "out"), "-s", "no.npy", "-j", "3"]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.splitlines() == ["4", "[]"]


def test_a_typer_that_asks_in_another_way_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asking:
        def get_runtime_param(self) -> str:
            return "its own"

    class Other:
        pass

    monkeypatch.setattr(plain_values, "TyperOption", Other)
    monkeypatch.setattr(plain_values, "TyperArgument", Asking)
    own = Asking.get_runtime_param
    plain_values.take_plain_values()
    assert not hasattr(Other, "get_runtime_param")
    assert Asking.get_runtime_param is not own
