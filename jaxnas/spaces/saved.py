"""Structures of spaces as files hold them: a run's space.json, and weights."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any


def stages_by_name(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Settings with the stages by the names that their genes and weights have."""
    stages: Sequence[Any] = settings["stages"]
    return settings | {"stages": {f"{prefix}{i}": stage for i, stage in enumerate(stages, 1)}}


def completed(structure: type, stage: type, saved: dict[str, Any]) -> dict[str, Any]:
    """What a file says, in one form: stages as a list, and defaults of settings younger than it."""
    stages = saved["stages"]
    rows = stages.values() if isinstance(stages, dict) else stages
    return _defaults(structure) | saved | {"stages": [_defaults(stage) | row for row in rows]}


def _defaults(structure: type) -> dict[str, Any]:
    return {one.name: one.default for one in fields(structure) if one.default is not MISSING}
