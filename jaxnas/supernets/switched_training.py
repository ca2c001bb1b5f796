"""Training of subnets on a CPU: `switched`'s branches with a gradient.

The gradient of a switch over forms is a switch over their gradients. Each of those computes its
form once more: what a form would keep for its gradient differs from branch to branch, and XLA would
hold room for all of them.

A soft genome may be one-hot: each part's result is then times the weight of its choices, 1, whose
gradient is the one that the interpreter gives the choices taken. That holds in spaces that
`mixes_results`.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.networks.subnet import Arrays, forward
from jaxnas.spaces.parts import SIZES
from jaxnas.spaces.space import Space
from jaxnas.supernets.forms import Form, Forms, segments_of
from jaxnas.supernets.interpreter import Plan, fitted, planned
from jaxnas.supernets.supernet import Params, take
from jaxnas.supernets.switched import Turn, cropped, grouped, handed, walk
from jaxnas.types import Genome, SoftGenome

OF_A_PICK = ("repeat", "choice")  # sizes that say which results there are, not how large


def build_switched_training(
    space: Space,
) -> Callable[[Params, Genome | SoftGenome, Float[Array, "n h w c"]], Float[Array, "n classes"]]:
    """Logits of a traced genome by batch statistics: the masked ones, but for rounding."""

    def logits(params, genome, images):
        segments = segments_of(space, images.shape[1])
        return walk(segments, grouped(segments, params), images, genome, _run)[0]

    return logits


@cache
def mixes_results(space: Space) -> bool:
    """Whether a soft genome is a mixture of whole results, at the end of each part, and no size."""
    return all(_mixes_results(plan) for plan in planned(space))


def _mixes_results(plan: Plan) -> bool:
    varied = [
        (i, name) for i, op in enumerate(plan.ops) for name in SIZES if np.ptp(getattr(op, name))
    ]
    sizes = [name for _, name in varied if name not in OF_A_PICK]
    picks = [i for i, name in varied if name == "choice"]
    last = [len(plan.ops) - 1] if plan.genes else []
    return not sizes and picks == last  # `choice` is of picks alone


def _run(turn: Turn, arrays: Arrays, inputs: list[Array]) -> tuple[Array, Arrays]:
    branches = [partial(_form, form, turn.forms.width) for form in turn.forms.forms]
    if turn.forms.absent:
        branches.append(partial(_absent, turn.forms))
    y: Any = _switch(tuple(branches), turn.form, arrays, tuple(inputs))
    if turn.live is not None:
        y = y * (jnp.arange(y.shape[-1], dtype=jnp.int32) < turn.live)
    return y if turn.weight is None else y * turn.weight.astype(y.dtype), {}


def _form(form: Form, width: int, arrays: Arrays, inputs: tuple[Array, ...]) -> Array:
    return fitted(forward(form, take(arrays, form), cropped(form, inputs))[0], width)


def _absent(forms: Forms, arrays: Arrays, inputs: tuple[Array, ...]) -> Array:
    return handed(forms, inputs)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _switch(branches: tuple[Callable, ...], branch, arrays: Arrays, inputs: tuple[Array, ...]):
    return jax.lax.switch(branch, branches, arrays, inputs)


def _forward(branches, branch, arrays, inputs):
    return jax.lax.switch(branch, branches, arrays, inputs), (branch, arrays, inputs)


def _backward(branches, residuals, gradient):
    branch, arrays, inputs = residuals
    backward = [
        lambda arrays, inputs, gradient, one=one: jax.vjp(one, arrays, inputs)[1](gradient)
        for one in branches
    ]
    return None, *jax.lax.switch(branch, backward, arrays, inputs, gradient)


_switch.defvjp(_forward, _backward)
