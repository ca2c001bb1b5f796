"""Load and split the images."""

from dataclasses import asdict

import numpy as np

from jaxnas.data.dataset import Dataset, Split
from jaxnas.progress import log
from jaxnas.records.environment import environment
from jaxnas.stages.evaluation import divided
from jaxnas.stages.job import Job

SHOWN = 10  # classes without an image that are named
LONGEST = 60  # characters of a class's name that are shown


def run_data(job: Job) -> bool:
    """Write data.json, which says what the images are, and environment.json, who works on them.

    False if both are there.
    """
    run = job.run
    if run.exists("data.json") and run.exists("environment.json"):
        return False
    if not run.exists("environment.json"):
        run.write_json("environment.json", environment())
    if not run.exists("data.json"):
        run.write_json("data.json", _described(job))
        _log(job.data, _splits(job))
    return True


def _splits(job: Job) -> dict[str, Split]:
    search, selection = divided(job.data.search, job.config.data.selection_share)
    return {
        "train": job.data.train,
        "search": search,
        "selection": selection,
        "test": job.data.test,
        "calibration": job.data.calibration,
    }


def _described(job: Job) -> dict[str, object]:
    data = job.data
    splits = _splits(job)
    height, width = data.image_size
    return {
        "name": data.name,
        "source": job.config.data.source,
        "height": height,
        "width": width,
        "channels": data.channels,
        "class_names": data.class_names,
        **{name: len(split) for name, split in splits.items()},
        "class_sizes": {name: _class_sizes(data, split) for name, split in splits.items()},
        "mean": data.mean,
        "deviation": data.deviation,
        **asdict(job.prepared),
        "fingerprint": data.fingerprint(),
    }


def _class_sizes(data: Dataset, split: Split) -> list[int]:
    return np.bincount(split.labels, minlength=data.classes).tolist()


def _log(data: Dataset, splits: dict[str, Split]) -> None:
    height, width = data.image_size
    images = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    log(
        f"data: {data.name}, {data.classes} classes, {height}x{width}x{data.channels}; images: "
        f"{images}"
    )
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
