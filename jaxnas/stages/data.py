"""Load and split the images."""

from dataclasses import asdict

import numpy as np

from jaxnas.data.dataset import Dataset, Split
from jaxnas.data.streamed import Streamed
from jaxnas.progress import log
from jaxnas.records.data import DATA, DataRecord, write_data
from jaxnas.records.environment import ENVIRONMENT, write_environment
from jaxnas.stages.evaluation import divided
from jaxnas.stages.job import Job

SHOWN = 10  # classes without an image that are named
LONGEST = 60  # characters of a class's name that are shown


def run_data(job: Job) -> bool:
    """Write data.json, what the images are, and environment.json, the machine and its versions.

    False if both are there.
    """
    run = job.run
    if run.exists(DATA) and run.exists(ENVIRONMENT):
        return False
    if not run.exists(ENVIRONMENT):
        write_environment(run)
    if not run.exists(DATA):
        write_data(run, _described(job))
        _log(job.data, _splits(job))
    return True


def _splits(job: Job) -> dict[str, Split | Streamed]:
    search, selection = divided(job.data.search, job.config.data.selection_share)
    return {
        "train": job.data.train,
        "search": search,
        "selection": selection,
        "test": job.data.test,
        "calibration": job.data.calibration,
    }


def _described(job: Job) -> DataRecord:
    data = job.data
    splits = _splits(job)
    height, width = data.image_size
    return DataRecord(
        data.name,
        job.config.data.source,
        height,
        width,
        data.channels,
        list(data.class_names),
        **{name: len(split) for name, split in splits.items()},
        mean=data.mean.tolist(),
        deviation=data.deviation.tolist(),
        fingerprint=data.fingerprint(),
        class_sizes={name: _class_sizes(data, split) for name, split in splits.items()},
        **asdict(job.prepared),
        notes=list(data.notes),
    )


def _class_sizes(data: Dataset, split: Split | Streamed) -> list[int]:
    return np.bincount(split.labels, minlength=data.classes).tolist()


def _log(data: Dataset, splits: dict[str, Split | Streamed]) -> None:
    height, width = data.image_size
    images = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    log(
        f"data: {data.name}, {data.classes} classes, {height}x{width}x{data.channels}; images: "
        f"{images}"
    )
    for note in data.notes:
        log(f"data: {note}")
    if unseen := data.unseen_classes:
        shown = ", ".join(map(str, unseen[:SHOWN])) + (", ..." if len(unseen) > SHOWN else "")
        which = f"{len(unseen)} of {data.classes} classes have no training image, numbers {shown}"
        log(f"data: {which}: number the classes from 0, without gaps")
    sizes = _class_sizes(data, splits["test"])
    commonest = int(np.argmax(sizes))
    name = data.class_names[commonest][:LONGEST]
    log(
        f"data: always answering {name}, the commonest class, is right on "
        f"{max(sizes) / sum(sizes):.1%} of test"
    )
