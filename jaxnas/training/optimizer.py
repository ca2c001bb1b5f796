"""How weights are moved: one optimizer for supernets and for single networks."""

from typing import Protocol, runtime_checkable

import jax
import optax
from jaxtyping import PyTree

from jaxnas.errors import UserError

WARMUP_START = 0.001  # share of the learning rate at the first step of a warm-up


@runtime_checkable
class Paced(Protocol):
    """Settings of a training that say how its learning rate goes."""

    @property
    def epochs(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def warmup_epochs(self) -> float: ...


def sgd(learning_rate: optax.ScalarOrSchedule, weight_decay: float) -> optax.GradientTransformation:
    """SGD with Nesterov momentum 0.9.

    Gradients clipped by value at 1 (AttentiveNAS), weight decay on kernels and their transforms
    only.
    """
    return optax.chain(
        optax.clip(1.0),
        optax.add_decayed_weights(weight_decay, mask=_decayed),
        optax.sgd(learning_rate, momentum=0.9, nesterov=True),
    )


def warmup_cosine(peak: float, warmup: int, steps: int) -> optax.Schedule:
    """Cosine from `peak` to 0 over all `steps`.

    Times a linear rise over the first `warmup` of them (AttentiveNAS).

    >>> rate = warmup_cosine(2.0, warmup=10, steps=100)
    >>> [f"{rate(step):.3f}" for step in (0, 5, 10, 50, 100)]
    ['0.002', '0.995', '1.951', '1.000', '0.000']
    """
    cosine = optax.cosine_decay_schedule(peak, max(steps, 1))
    if warmup < 1:
        return cosine
    rise = optax.linear_schedule(WARMUP_START, 1.0, warmup)
    return lambda step: cosine(step) * rise(step)


def warmed_up(settings: Paced, steps: int) -> optax.Schedule:
    """`warmup_cosine` of these settings, which warms up for half of the steps at most."""
    warmup = int(settings.warmup_epochs * steps / max(settings.epochs, 1))
    return warmup_cosine(settings.learning_rate, min(warmup, steps // 2), steps)


def _decayed(params: PyTree) -> PyTree:
    """True where an array is a kernel, or a matrix that makes smaller kernels of larger ones."""
    return jax.tree.map_with_path(lambda path, _: _is_kernel(path[-1].key), params)


def _is_kernel(name: str) -> bool:
    if name in ("scale", "shift", "bias"):
        return False
    if not name.startswith(("kernel", "transform")):
        raise UserError(
            f"weight decay knows kernel, transform, scale, shift and bias, got an array {name!r}: "
            "name it as one of them"
        )
    return True
