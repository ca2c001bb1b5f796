"""Subnets as int8 networks, simulated.

What ONNX Runtime's static quantisation (export/int8.py) makes of them, inside the compiled program.

Weights are rounded per output channel, to 255 levels around 0; activations per tensor, to 256
levels of the range that they had on the calibration images. Sums stay exact, as int32 sums are.
Rounded are the image, every operator's result, and what stands before an activation that is an
operator of its own (swish also its gate); relu and relu6 are part of their convolution.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_batches_of, joined
from jaxnas.networks.norm import Leaf
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import ACTIVATIONS, Arrays, operate, without_norms
from jaxnas.spaces.mobilenet import split_genes
from jaxnas.spaces.space import Space
from jaxnas.spaces.stage import MobileNet
from jaxnas.supernets.supernet import Params, Switched, take
from jaxnas.supernets.switched import (
    MICRO_BATCH,
    Forms,
    Weights,
    branch_of,
    calibrated,
    grouped,
    live_width,
    padded,
    parts_of,
    walk,
)
from jaxnas.types import Genome

BEFORE, GATE, AFTER = range(3)  # the tensors of an operator with an activation
FUSED = ("", "relu", "relu6")
Range = Float[Array, "*n 2"]  # least and most


def build_int8(space: Space) -> Switched:
    """How the subnets of a `MobileNet` space are evaluated as int8 networks.

    `logits` are those of the rounded network.
    """
    net: MobileNet = space.structure

    def calibrate(params: Params, genome: Genome, images: Float[Array, "m h w c"]) -> Weights:
        choice = split_genes(net, list(genome))
        weights = walk(net, grouped(net, params), images, choice, calibrated)[1]
        features, ranges = walk(net, weights, images, choice, _observed)
        seen: dict[str, Range] = {"image": _range(images)}

        def touch(name: str, x):
            seen[name] = _range(x)
            return x

        _classify(net, choice, weights["head"], features, touch, lambda kernel: kernel)
        return {name: _beside(arrays, ranges[name]) for name, arrays in weights.items()} | {
            "ranges": seen
        }

    def logits(
        weights: Weights, genome: Genome, images: Float[Array, "n h w c"] | Pixels
    ) -> Float[Array, "n classes"]:
        choice = split_genes(net, list(genome))
        ranges = weights["ranges"]

        def features_of(batch):
            return walk(net, weights, rounded(batch, ranges["image"]), choice, _evaluated)[0]

        features = in_batches_of(MICRO_BATCH, features_of, images)
        return _classify(
            net,
            choice,
            weights["head"][0],
            features,
            lambda name, x: rounded(x, ranges[name]),
            rounded_weights,
        )

    return Switched(calibrate, logits)


def rounded(x: Float[Array, "..."], limits: Range) -> Float[Array, "..."]:
    """Activations at the 256 levels from the least to the most, one of which is 0.

    Those beyond are clipped.
    """
    least = jnp.minimum(limits[0], 0)
    most = jnp.maximum(limits[1], 0)
    step = jnp.where(most > least, (most - least) / 255, 1)
    zero = jnp.round(-least / step)
    return (jnp.clip(jnp.round(x / step) + zero, 0, 255) - zero) * step


def rounded_weights(kernel: Float[Leaf, "... c_out"]) -> Float[Array, "... c_out"]:
    """Weights at 255 levels around 0, the outer ones the largest of each output channel."""
    largest = jnp.abs(jnp.asarray(kernel)).max(axis=tuple(range(kernel.ndim - 1)))
    step = jnp.where(largest > 0, largest / 127, 1)
    return jnp.round(kernel / step) * step


def _range(x) -> Range:
    return jnp.stack([x.min(), x.max()])


def _beside(arrays, ranges):
    """A part's weights and ranges together, as the walk hands them on.

    A stage's first block and its others each by itself.
    """
    if not isinstance(ranges, dict):
        return arrays, ranges
    return {
        name: (arrays[name], ranges[name]) if arrays[name] else {} for name in ("first", "rest")
    }


def _classify(
    net: MobileNet, choice, head: Arrays, features, touch: Callable, change: Callable
) -> Float[Array, "n classes"]:
    """The layers after the global pool."""
    x = features
    if net.head == "v3":
        live = jnp.arange(net.last_widths[-1]) < jnp.asarray(net.last_widths)[choice.last]
        x = x @ jnp.where(live, change(head["feature"]["kernel"][0, 0]), 0)
        x = _activated(net.activation, x, lambda tensor, x: touch(f"feature{tensor}", x))
    return touch("logits", x @ change(head["classifier"]["kernel"]) + head["classifier"]["bias"])


def _activated(act: str, x, touch: Callable):
    if act not in FUSED:
        x = touch(BEFORE, x)
    return touch(
        AFTER, x * touch(GATE, jax.nn.sigmoid(x)) if act == "swish" else ACTIVATIONS[act](x)
    )


def _run(ops: tuple[Op, ...], weights: Arrays, x, touch: Callable):
    """The last operator's result.

    `touch(position, tensor, value)` sees every value that is rounded and may change it.
    """
    values = []
    for i, op in enumerate(ops):
        y = operate(op, weights, [x if j == -1 else values[j] for j in op.inputs])
        values.append(_activated(op.act, y, partial(touch, i)))
    return values[-1]


def _observed(forms: Forms, choices: tuple, arrays: Arrays, x) -> tuple[Array, Array]:
    """The branch with folded weights, and the range of each of its tensors: (operators, 3, 2)."""
    longest = max(map(len, forms.branches))
    live = live_width(forms, choices)

    def branch(ops):
        ops = without_norms(ops)
        # Whose channels beyond `live` do not count.
        own = next((i for i, op in enumerate(ops) if op.path.endswith("project")), len(ops))

        def some(weights, x):
            seen = {}

            def touch(i, tensor, value):
                counted = (
                    value
                    if live is None or i < own
                    else value * (jnp.arange(value.shape[-1]) < live)
                )
                seen[i, tensor] = _range(counted)
                return value

            y = _run(ops, weights, x, touch)
            nothing = jnp.zeros(2, jnp.float32)
            return y, jnp.stack(
                [
                    jnp.stack([seen.get((i, tensor), nothing) for tensor in range(3)])
                    for i in range(longest)
                ]
            )

        def compute(arrays, x):
            y, ranges = parts_of(ops, partial(some, take(arrays, ops)), x[..., : ops[0].c_in])
            return padded(joined(y), forms.width), jnp.stack(
                [ranges[..., 0].min(axis=0), ranges[..., 1].max(axis=0)], axis=-1
            )

        return compute

    return jax.lax.switch(
        branch_of(forms, choices), [branch(ops) for ops in forms.branches], arrays, x
    )


def _evaluated(forms: Forms, choices: tuple, made: tuple[Arrays, Array], x) -> tuple[Array, Arrays]:
    """The branch with rounded weights and activations."""

    def branch(ops):
        ops = without_norms(ops)

        def compute(made, x):
            arrays, ranges = made
            weights = {
                path: own | {"kernel": rounded_weights(own["kernel"])}
                for path, own in take(arrays, ops).items()
            }

            def touch(i, tensor, value):
                return rounded(value, ranges[i, tensor])

            return padded(
                joined(
                    parts_of(ops, lambda x: _run(ops, weights, x, touch), x[..., : ops[0].c_in])
                ),
                forms.width,
            )

        return compute

    return jax.lax.switch(
        branch_of(forms, choices), [branch(ops) for ops in forms.branches], made, x
    ), {}
