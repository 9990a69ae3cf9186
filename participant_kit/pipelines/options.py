"""What every step's options share: strict types, files named from the pipeline's folder, and how they are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from competition.records.base import Prose


class StepOptions(BaseModel):
    """Options of a step. Validate them with the folder of the pipeline's file as context."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def recorded(self) -> dict[str, Any]:
        """Those that are set, as JSON; a file by its name, never a folder of this machine."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _recorded(value) for name, value in values.items() if value is not None}

    def check_inputs(self, inputs: int) -> None:
        """Refuse a number of inputs that does not fit the options, with ``ValueError``."""

    def files(self) -> dict[str, Path]:
        """The files and folders that the options name, by role."""
        found: dict[str, Path] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, list):
                found |= {f"{name}_{place}": each for place, each in enumerate(value, 1) if isinstance(each, Path)}
            elif isinstance(value, Path):
                found[name] = value
        return found


class NoOptions(StepOptions):
    """Of a step that has none."""


def folder_of(info: ValidationInfo) -> Path:
    """The folder of the pipeline's file, which is the context of every validation."""
    assert isinstance(info.context, Path)
    return info.context


def _recorded(value: Any) -> Any:
    if isinstance(value, list):
        return [_recorded(each) for each in value]
    return value.name if isinstance(value, Path) else value


def _present(path: Path, info: ValidationInfo) -> Path:
    there = _there(path, info)
    if not there.exists():
        raise ValueError(f"there is no {there}")
    return there


def _there(path: Path, info: ValidationInfo) -> Path:
    return folder_of(info) / path


def _there_or_name(path: Path, info: ValidationInfo) -> Path:
    there = _there(path, info)
    if not there.exists() and len(path.parts) > 1:
        raise ValueError(f"there is no {there}")
    return there if there.exists() else path


LoosePath = Annotated[Path, Field(strict=False)]
InputPath = Annotated[LoosePath, AfterValidator(_present)]
"""A file or folder that is there; a relative one is looked for in the folder of the pipeline's file."""
PathOrName = Annotated[LoosePath, AfterValidator(_there_or_name)]
"""The same, or a word by which DataCup or open_clip knows something."""
Seed = Annotated[int, Field(ge=0)]
Text = Annotated[Prose, Field(min_length=1)]
