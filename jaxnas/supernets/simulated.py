"""Evaluation of subnets in other numbers, inside the compiled program: `numerics` says which.

Held in those numbers are the image, every operator's result, and what stands before an activation
that is an operator of its own (of swish also its gate).
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.data.pixels import Pixels
from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.chunks import in_batches_of, joined
from jaxnas.networks.subnet import Arrays, operate, without_norms
from jaxnas.numerics.numerics import Numerics, Range
from jaxnas.spaces.space import Space
from jaxnas.supernets.forms import Form, segments_of
from jaxnas.supernets.interpreter import fitted
from jaxnas.supernets.supernet import Params, Switched, take
from jaxnas.supernets.switched import (
    MICRO_BATCH,
    Turn,
    Weights,
    calibrated,
    cropped,
    grouped,
    handed,
    parts_of,
    switched,
    walk,
)
from jaxnas.types import Genome

BEFORE, GATE, AFTER = range(3)  # the tensors of an operator with an activation


def build_simulated(space: Space, numerics: Numerics) -> Switched:
    """How the subnets of a space are evaluated as they run in these numbers."""

    def calibrate(params: Params, genome: Genome, images: Float[Array, "m h w c"]) -> Weights:
        segments = segments_of(space, images.shape[1])
        weights = walk(segments, grouped(segments, params), images, genome, calibrated)[1]
        ranges = walk(segments, weights, images, genome, partial(_observed, numerics))[1]
        both = {name: (arrays, ranges[name]) for name, arrays in weights.items()}
        return {"parts": both, "image": _range(images)}

    def logits(
        weights: Weights, genome: Genome, images: Float[Array, "n h w c"] | Pixels
    ) -> Float[Array, "n classes"]:
        segments = segments_of(space, images.shape[1])

        def some(batch):
            held = numerics.tensor(batch, weights["image"])
            return walk(segments, weights["parts"], held, genome, partial(_evaluated, numerics))[0]

        return in_batches_of(MICRO_BATCH, some, images)

    return Switched(calibrate, logits)


def _range(x) -> Range:
    return jnp.stack([x.min(), x.max()])


def _activated(numerics: Numerics, act: str, x, touch: Callable):
    if not numerics.fuses(act):
        x = touch(BEFORE, x)
    return touch(
        AFTER, x * touch(GATE, jax.nn.sigmoid(x)) if act == "swish" else ACTIVATIONS[act](x)
    )


def _run(
    numerics: Numerics, ops: Form, weights: Arrays, inputs: Sequence[Array], touch: Callable
) -> Array:
    """The last result; `touch(position, tensor, value)` sees every value and may change it."""
    values = []
    for i, op in enumerate(ops):
        read = [inputs[-1 - j] if j < 0 else values[j] for j in op.inputs]
        values.append(_activated(numerics, op.act, operate(op, weights, read), partial(touch, i)))
    return values[-1]


def _observed(
    numerics: Numerics, turn: Turn, arrays: Arrays, inputs: list[Array]
) -> tuple[Array, Array]:
    """The form with folded weights, and the range of each of its tensors: (operators, 3, 2)."""
    longest = max(map(len, turn.forms.forms), default=0)
    nothing = jnp.zeros(2, jnp.float32)

    def branch(i, form):
        form = without_norms(form)
        wider = turn.forms.wider[i]  # from here on channels beyond `live` do not count

        def some(weights, inputs):
            seen = {}

            def touch(at, tensor, value):
                counted = value
                if wider is not None and at >= wider:
                    counted = value * (jnp.arange(value.shape[-1], dtype=jnp.int32) < turn.live)
                seen[at, tensor] = _range(counted)
                return value

            y = _run(numerics, form, weights, inputs, touch)
            for at, op in enumerate(form):
                if numerics.keeps(op.kind):
                    j = op.inputs[0]
                    seen[at, AFTER] = seen[j, AFTER] if j >= 0 else _range(inputs[-1 - j])
            rows = [
                [seen.get((at, tensor), nothing) for tensor in range(3)] for at in range(longest)
            ]
            return y, jnp.stack([jnp.stack(row) for row in rows])

        def compute(arrays, inputs):
            run = partial(some, take(arrays, form))
            y, ranges = parts_of(form, run, cropped(form, inputs))
            limits = [ranges[..., 0].min(axis=0), ranges[..., 1].max(axis=0)]
            return fitted(joined(y), turn.forms.width), jnp.stack(limits, axis=-1)

        return compute

    def absent(_, inputs):
        return handed(turn.forms, inputs), jnp.zeros((longest, 3, 2), jnp.float32)

    return switched(turn, branch, absent, arrays, inputs)


def _evaluated(
    numerics: Numerics, turn: Turn, made: tuple[Arrays, Array], inputs: list[Array]
) -> tuple[Array, Arrays]:
    """The form with weights and tensors as they are held."""

    def branch(_, form):
        form = without_norms(form)
        ops = {op.path: op for op in form if op.path}

        def compute(made, inputs):
            arrays, ranges = made
            weights = {
                path: numerics.weights(ops[path], own) for path, own in take(arrays, form).items()
            }

            def touch(i, tensor, value):
                return numerics.tensor(value, ranges[i, tensor])

            def run(inputs):
                return _run(numerics, form, weights, inputs, touch)

            return fitted(joined(parts_of(form, run, cropped(form, inputs))), turn.forms.width)

        return compute

    return switched(turn, branch, lambda _, given: handed(turn.forms, given), made, inputs), {}
