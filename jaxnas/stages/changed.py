"""Other settings for a run that is there: what they decide is done again, the rest is kept.

What was there is kept as a run of its own, inside the run directory.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxnas.config import Config
from jaxnas.errors import cannot
from jaxnas.progress import log
from jaxnas.records.files import RECORDS, STAGES
from jaxnas.records.inputs import INPUTS, write_inputs
from jaxnas.records.metrics import METRICS, drop_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.whole import write_whole
from jaxnas.report.words import listed
from jaxnas.spaces.space import Space
from jaxnas.stages.differences import change_in_words, differences, is_after_training
from jaxnas.stages.settings import inputs_of
from jaxnas.stages.unread import is_read, without_unread
from jaxnas.weights import trained

EARLIER = "earlier"
WRITTEN_ANEW = ("config.json", INPUTS, METRICS)
ORDER = list(STAGES)


@dataclass(frozen=True)
class Outdated:
    """Settings that differ, and the stages that they have done again, in order."""

    changes: Mapping[str, tuple[Any, Any]]
    stages: tuple[str, ...]


def outdated(
    run: RunDirectory, config: Config, space: Space, names: Sequence[str]
) -> Outdated | None:
    """What other settings than the run's ask for; None where there are none, or none allowed.

    Those that decide the supernet are not: hours of training would be lost by a mistake. The first
    stage that they have done again must be one of `names`, those that are to run.
    """
    if not run.exists("config.json"):
        return None
    changes = differences(run, config, space)
    if not changes or not all(map(is_after_training, changes)):
        return None
    decided = [
        ORDER.index(record.made_by)
        for record in RECORDS.values()
        if record.made_by != "data" and any(map(record.depends_on, changes))
    ]
    if not decided or ORDER[min(decided)] not in names:
        return None
    return Outdated(changes, tuple(ORDER[min(decided) :]))


class Aside(NamedTuple):
    """What was moved away, and the files that were written anew, as they were."""

    folder: Path | None  # None: there was nothing to move
    moved: list[str]
    before: dict[str, bytes]


def put_aside(run: RunDirectory, config: Config, space: Space, again: Outdated) -> Aside:
    """Move what the stages left into earlier/N, with copies of what it was made from.

    The last stages' files go first and the settings are written last: whenever this is killed,
    what is left is a run with fewer stages done.
    """
    moved = [name for stage in reversed(again.stages) for name in _made_by(run, stage)]
    kept = {stage: list(_made_by(run, stage)) for stage in ORDER if stage not in again.stages}
    said = ", ".join(
        change_in_words(name, *both)
        for name, both in again.changes.items()
        if is_read(config, name)
    )
    before = {name: run.read_bytes(name) for name in WRITTEN_ANEW if run.exists(name)}
    folder = None
    try:
        if moved:
            folder = _next(run)
            _copy(run, folder, [name for names in kept.values() for name in names])
            for name in moved:
                _move(run.path(name), folder / name)
        drop_metrics(run, again.stages)
    except OSError as error:
        raise cannot("put aside files of", run.root, error) from error
    write_inputs(run, inputs_of(config, space))
    run.write_json("config.json", asdict(without_unread(config)))
    left = listed([stage for stage, names in kept.items() if names])
    log(
        f"{said}: {listed(again.stages)} are done again, {left} kept; what was there is the run "
        f"{folder}"
        if folder
        else f"{said}: nothing that this decides was there yet"
    )
    return Aside(folder, moved, before)


def put_back(run: RunDirectory, aside: Aside) -> None:
    """As it was, unless a stage has already left something."""
    if any(map(run.exists, aside.moved)):
        return
    try:
        for name in reversed(aside.moved):
            assert aside.folder is not None
            _move(aside.folder / name, run.path(name))
        for name, data in aside.before.items():
            run.write_bytes(name, data)
        if aside.folder is not None:
            shutil.rmtree(aside.folder)
    except OSError as error:
        raise cannot("put back files of", run.root, error) from error
    log("the run is as it was")


def _made_by(run: RunDirectory, stage: str) -> Iterator[str]:
    """Files and folders that a stage has left."""
    for record in RECORDS.values():
        if record.made_by != stage:
            continue
        if record.name == "checkpoints/NAME":
            folder = run.path("checkpoints")
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            yield from (f"checkpoints/{name}" for name in names if name != "supernet")
        else:
            name = "models" if record.name == "models/NAME.onnx" else record.name
            older = trained.FILES if name in trained.FILES else (name,)
            yield from filter(run.exists, older)


def _next(run: RunDirectory) -> Path:
    """A new folder."""
    number = 1
    while os.path.lexists(run.path(f"{EARLIER}/{number}")):
        number += 1
    folder = run.path(f"{EARLIER}/{number}")
    folder.mkdir(parents=True)
    return folder


def _copy(run: RunDirectory, folder: Path, names: list[str]) -> None:
    """Files as copies; those of checkpoints, which are large and never written into, as links."""
    for name in names:
        if run.path(name).is_dir():
            shutil.copytree(run.path(name), folder / name, copy_function=_linked)
        else:
            write_whole(folder / name, run.read_bytes(name))


def _linked(path: str, to: str) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without links
        shutil.copy2(path, to)


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, to)
