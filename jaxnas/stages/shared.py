"""What a run computes on the devices of all processes: errors of networks, and a training's steps.

Where there is one process, on its own devices. Else the leader tells the followers what is next,
and they compute the same (`stages/follow.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxnas import hosts
from jaxnas.config import NUMERICS, OBJECTIVES, make_device
from jaxnas.data.dataset import Split
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective, fitness
from jaxnas.predictors.predictor import Model
from jaxnas.stages.job import Job
from jaxnas.supernets.supernet import Params
from jaxnas.training.loop import train
from jaxnas.training.method import Losses, Method, TrainState
from jaxnas.training.parallel import all_devices, devices_of_all, on_each
from jaxnas.training.views import on_device

Program = Callable[[np.ndarray], np.ndarray]  # genomes to a column of errors
_numbers = count()  # of the leader's programs


def training(
    job: Job, method: Method, begun: TrainState
) -> Iterator[tuple[int, TrainState, Losses]]:
    """The steps of the supernet's training, see `training.loop.train`; the leader's."""
    if hosts.count() > 1:
        hosts.tell("train", prepared=asdict(job.prepared))
        begun = hosts.share(begun)
    return hosts.led(steps_from(job, method, begun))


def steps_from(
    job: Job, method: Method, begun: TrainState
) -> Iterator[tuple[int, TrainState, Losses]]:
    """The same, of any process."""
    return train(
        job.trained_net,
        job.data,
        method,
        job.config.train,
        job.augmentation,
        job.key("train"),
        begun,
    )


def errors(job: Job, inputs: list[EvaluationInputs], split: Split) -> Program:
    """The errors of networks on a part of the search split, by `inputs` of it; the leader's."""
    if hosts.count() == 1:
        mesh = all_devices()
        return fitness(job.space, (error_objective(job, mesh),), inputs, mesh)
    params = jax.device_get(inputs[0].params)
    number = next(_numbers)
    hosts.tell(
        "errors",
        number=number,
        rows=_rows(job.data.search, split),
        share=job.config.search.hybrid.share,
        prepared=asdict(job.prepared),
    )
    program = errors_of_all(job, hosts.share(params), split)

    def evaluate(genomes: np.ndarray) -> np.ndarray:
        hosts.tell("genomes", number=number, genomes=np.asarray(genomes).tolist())
        return program(genomes)

    return evaluate


def errors_of_all(job: Job, params: Params, split: Split) -> Program:
    """The errors of networks, computed by all processes; of any process."""
    mesh = devices_of_all()
    inputs = evaluation_inputs(job, params, {}, split, mesh)
    return fitness(job.space, (error_objective(job, mesh),), inputs, mesh)


def error_objective(job: Job, mesh: Mesh) -> Objective:
    """The objective of a search that weights and images decide."""
    return OBJECTIVES["error"](
        Context(
            job.net,
            make_device(job.config.profile),
            NUMERICS[job.config.export.precision],
            job.config.search.hybrid,
            job.augmentation,
            job.key("hybrid"),
            mesh,
            job.config.search.memory_gib,
        )
    )


def evaluation_inputs(
    job: Job, params: Params, models: dict[str, Model], split: Split, mesh: Mesh
) -> list[EvaluationInputs]:
    """What objectives read, on the devices of a mesh; for each resolution."""
    examples = [job.examples(split, size) for size in job.space.resolutions]
    hybrid = job.config.search.hybrid
    images = on_device(job.data, job.config.train.class_weights) if hybrid.trains else None
    return [
        on_each(mesh, EvaluationInputs(params, models, jnp.int32(i), some, images))
        for i, some in enumerate(examples)
    ]


def _rows(search: Split, split: Split) -> tuple[int, int]:
    """Which rows of the search split a part of it is."""
    for start in (0, len(search) - len(split)):
        if np.array_equal(search.images[start : start + len(split)], split.images):
            return start, start + len(split)
    raise ValueError("errors are evaluated on the first or the last images of the search split")


def zeros_like(tree: Any) -> Any:
    """Arrays of the shapes and types of a tree, which `hosts.share` fills."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)
