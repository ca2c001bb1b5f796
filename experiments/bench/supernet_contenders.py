"""What `supernet.py` times: jaxnas and the peer at the same work.

Each call of a contender returns when its work is done.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count, cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from supernet_case import Case

from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation
from jaxnas.networks.op import Op
from jaxnas.objectives.error import classification_error
from jaxnas.objectives.objective import EvaluationInputs, fitness
from jaxnas.training.evaluate import Examples
from jaxnas.training.loop import init_state, make_step
from jaxnas.training.method import TrainConfig
from jaxnas.training.parallel import all_devices, on_each
from jaxnas.training.views import Images

TEACHING = TrainConfig(random_subnets=2, label_smoothing=0.1, weight_decay=1e-4)


def jaxnas_accuracies(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """jaxnas's population evaluation: rows of the case's genomes to accuracies."""
    mesh = all_devices()
    params, data = on_each(
        mesh, (case.params, [Examples(*map(jnp.asarray, work)) for work in case.work.values()])
    )
    inputs = [
        EvaluationInputs(params, {}, jnp.int32(choice), examples)
        for choice, examples in enumerate(data)
    ]
    errors = fitness(case.net.space, [classification_error(case.net, mesh)], inputs, mesh)

    def run(rows: np.ndarray) -> np.ndarray:
        others = ~np.isin(np.arange(len(case.genomes)), rows)
        asked = case.net.space.left_out(case.genomes, others)
        return 1 - errors(asked)[rows, 0]

    return run


def jaxnas_steps(case: Case) -> Callable[[], None]:
    """jaxnas's training: each call takes some steps."""
    sizes = case.sizes
    key = jax.random.key(0)
    settings = replace(TEACHING, batch_size=case.sizes.batch)
    method = make_method(settings)
    step = make_step(case.net, method, settings, Augmentation(), 1000)
    state = init_state(case.net, method, settings, 1000, key)
    images = Images(
        *map(
            jnp.asarray, (case.pixels, np.arange(len(case.pixels)) % 10, case.mean, case.deviation)
        )
    )
    rows = jnp.arange(sizes.batch)
    done = count()

    def run() -> None:
        nonlocal state
        for _ in range(sizes.steps):
            state, _ = step(
                state, jax.random.fold_in(key, next(done)), images, rows, resolution=max(case.work)
            )
        jax.block_until_ready(state)

    return run


def jaxnas_objectives(case: Case) -> Callable[[], None]:
    """jaxnas's analytic objectives (MACs, parameters, peak activations) of random genomes.

    Each call computes all of them.
    """
    genomes = case.net.space.sample(jax.random.key(0), case.sizes.architectures)

    def run() -> None:
        jax.block_until_ready(case.net.space.costs(genomes))

    return run


def torch_accuracies(case: Case, peer: Any, setting: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The peer's loop: rows of the case's genomes to accuracies."""
    shared = peer.shared_weights(case.params, setting)
    data = [peer.examples(*work, setting) for work in case.work.values()]
    choices = case.net.space.resolution_choices(case.genomes)
    subnets = [
        (case.net.ops(genome), data[choice])
        for genome, choice in zip(case.genomes, choices, strict=True)
    ]
    return lambda rows: np.array(
        [peer.accuracy(subnets[row][0], shared, subnets[row][1], setting) for row in rows]
    )


def torch_steps(case: Case, peer: Any, setting: Any) -> Callable[[], None]:
    """The peer's training: each call takes some steps."""
    sizes = case.sizes
    taught = cycle(_random_subnets(case, 64))
    trainer = peer.Trainer(
        peer.shared_weights(case.params, setting),
        setting,
        0.01,
        TEACHING.weight_decay,
        TEACHING.label_smoothing,
    )
    batch, *_ = peer.examples(
        *(array[: sizes.batch] for array in case.work[max(case.work)]), setting
    )
    labels = peer.label_tensor(np.arange(sizes.batch) % 10)
    largest, smallest = (
        case.net.ops(at_largest_resolution(case, genome))
        for genome in (case.net.space.largest, case.net.space.smallest)
    )

    def run() -> None:
        for _ in range(sizes.steps):
            random = [next(taught) for _ in range(TEACHING.random_subnets)]
            trainer.step([largest, *random, smallest], batch, labels)

    return run


def _random_subnets(case: Case, n: int) -> list[tuple[Op, ...]]:
    genomes = np.asarray(case.net.space.sample(jax.random.key(0), n))
    return [case.net.ops(at_largest_resolution(case, genome)) for genome in genomes]


def at_largest_resolution(case: Case, genome: np.ndarray) -> np.ndarray:
    """The same network at the largest resolution."""
    space = case.net.space
    return space.at_resolution(genome, len(space.resolutions) - 1)
