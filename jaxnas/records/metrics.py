"""metrics.jsonl: figures of training and fine-tuning, and events of all stages, a line each."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import number, string, text

METRICS = "metrics.jsonl"
ARCHITECTURE = "architecture"  # the event of what a search by gradient has learnt so far
# What a line without an event must hold, by its stage.
FIGURES = {"train": ("step", "loss"), "finetune": ("epoch", "search_accuracy")}
OPTIONAL = ("loss_largest",)  # which methods without a largest network do not have


def read_metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """The lines: `stage`, and either an `event` or figures of a training."""
    lines = run.read_jsonl(METRICS)
    with reading(run, METRICS):
        for line in lines:
            _check(line)
    return lines


def append_metrics(run: RunDirectory, line: Mapping[str, Any]) -> None:
    """Add a line: its `stage`, and figures or an `event`."""
    run.append_jsonl(METRICS, dict(line))


def drop_metrics(run: RunDirectory, stages: Collection[str]) -> None:
    """Remove the lines of these stages."""
    if run.exists(METRICS):
        kept = [line for line in run.read_jsonl(METRICS) if line.get("stage") not in stages]
        run.write_text(
            METRICS, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in kept)
        )


def _check(line: dict[str, Any]) -> None:
    stage = text(line, "stage")
    event = line.get("event")
    if event == "done":
        number(line, "seconds")
    elif event == ARCHITECTURE:
        string(line, "label")
        for name in ("step", "skips", *(name for name in ("cost", "target") if name in line)):
            number(line, name)
        if not isinstance(line["entropy"], list) or not np.isfinite(line["entropy"]).all():
            raise TypeError(f"entropy must be numbers, got {line['entropy']!r}")
    elif event is None:
        for name in (*FIGURES.get(stage, ()), *(name for name in OPTIONAL if name in line)):
            number(line, name)
        if stage == "finetune":
            text(line, "name")
