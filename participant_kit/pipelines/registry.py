"""All that a step can run, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from participant_kit.pipelines.dedup_steps import DEDUP_STEPS
from participant_kit.pipelines.label_steps import LABEL_STEPS
from participant_kit.pipelines.operations import AnyOperation
from participant_kit.pipelines.subset_steps import SUBSET_STEPS

OPERATIONS: Mapping[str, AnyOperation] = MappingProxyType(
    {operation.name: operation for operation in (*SUBSET_STEPS, *DEDUP_STEPS, *LABEL_STEPS)}
)
