"""The network that others learn from in fine-tuning: a supernet's largest, as it evaluates it."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxnas.config import Config
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, space_of
from jaxnas.stages.settings import recorded_settings
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.recalibrate import recalibrated
from jaxnas.weights import pretrained, trained

LARGEST = "largest"  # of this run's own supernet


class Place(NamedTuple):
    """Where a teacher's weights lie: a name or a path, and the supernet that they are of."""

    weights: str
    net: Supernet


def teacher_of(job: Job, params: Params, resolution: int) -> Subnet | None:
    """What `finetune.teacher` names, for images of this resolution; None where it names none.

    `params` are this run's, on the host. A teacher from elsewhere sees the images as this run's
    networks do, and has its statistics from them.
    """
    name = job.config.finetune.teacher
    if name is None or not job.config.finetune.epochs:
        return None
    net = job.net
    if name != LARGEST:
        weights, net = _place(job.config, name, job.data, job.space)
        params = jax.device_get(pretrained.load(weights, net, job.data.class_names, {}))
    subnet = net.extract(params, _largest(net.space, resolution), {})
    return jax.tree.map(
        jax.numpy.asarray, recalibrated(subnet, job.finetuned_calibration(resolution))
    )


def check_teacher(config: Config, data: Dataset, space: Space) -> None:
    """Refuses a teacher that is not there, damaged, of another space, or of other classes.

    Reads names and shapes alone.
    """
    name = config.finetune.teacher
    if name in (None, LARGEST):
        return
    place = _place(config, name, data, space)
    found = pretrained.look(place.weights, place.net, data.class_names)
    if found.fresh:
        raise UserError(
            f"finetune.teacher {name} does not know the classes of the data ({found.lines[-1]}): "
            f"name one that does, or {LARGEST}"
        )


def _place(config: Config, name: str, data: Dataset, space: Space) -> Place:
    """A run's file, in the space of that run; or weights, in this run's."""
    if not Path(name).is_dir():
        return Place(name, build(space))
    run = RunDirectory(name)
    file = next(filter(run.exists, trained.FILES), None)
    if file is None:
        raise UserError(
            f"finetune.teacher {name} has no {trained.FILES[0]}: name a run that is trained"
        )
    theirs = space_of(recorded_settings(run), data.image_size[0], data.channels, data.classes)
    return Place(str(run.path(file)), build(theirs))


def _largest(space: Space, resolution: int) -> np.ndarray:
    """The largest network, at this resolution where the space chooses between several."""
    if resolution not in space.resolutions:
        return space.largest
    return np.asarray(space.at_resolution(space.largest, space.resolution_choice(resolution)))
