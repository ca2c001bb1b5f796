"""Evaluation of subnets on a CPU.

Every block is a switch over its extracted forms, so that no masked channel is computed.

The masked spelling computes the largest network whatever the genome, 2 to 4 times the work of a
random one. Here a genome still is traced and one program serves all, but each branch of a switch
has static shapes: a kernel, an expand ratio, an input width. A stage's later blocks share the
branches: they are one loop of as many turns as the genome has blocks. No gradient is taken through
this.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_batches_of, in_parts, joined
from jaxnas.networks.norm import batch_statistics, pooled
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import (
    ACTIVATIONS,
    Arrays,
    folded,
    forward,
    norm_act,
    operate,
    without_norms,
)
from jaxnas.spaces.mobilenet import Choice, split_genes
from jaxnas.spaces.space import Space
from jaxnas.spaces.stage import MobileNet, Stage, head_width, strided
from jaxnas.supernets.operators import Sizes, append_block
from jaxnas.supernets.supernet import Params, Switched, flat, take
from jaxnas.types import Genome

MICRO_BATCH = 32  # images that go through the network together

Weights = dict[str, Any]  # stem; per stage its first block and the stacked rest; head


class Forms(NamedTuple):
    """A block's extracted forms.

    Every branch's operators, which branch a tuple of choices takes, and the widest output.
    """

    branches: list[tuple[Op, ...]]
    table: np.ndarray
    width: int
    # Of the output, where a branch may compute more of it than the genome has: choice number 1.
    widths: tuple[int, ...] = ()


def build_switched(space: Space) -> Switched:
    """How the subnets of a `MobileNet` space are evaluated on a CPU."""
    net: MobileNet = space.structure

    def calibrate(params: Params, genome: Genome, images: Float[Array, "m h w c"]) -> Weights:
        return walk(net, grouped(net, params), images, split_genes(net, list(genome)), calibrated)[
            1
        ]

    def logits(
        weights: Weights, genome: Genome, images: Float[Array, "n h w c"] | Pixels
    ) -> Float[Array, "n classes"]:
        choice = split_genes(net, list(genome))
        features = in_batches_of(
            MICRO_BATCH, lambda part: walk(net, weights, part, choice, _evaluate)[0], images
        )
        return classify(net, weights["head"], choice, features)

    return Switched(calibrate, logits)


def classify(
    net: MobileNet, head: Arrays, choice: Choice, x: Float[Array, "n c"]
) -> Float[Array, "n classes"]:
    """Logits from the pooled features of `walk`."""
    if net.head == "v3":
        live = jnp.arange(net.last_widths[-1]) < jnp.asarray(net.last_widths)[choice.last]
        x = ACTIVATIONS[net.activation](x @ jnp.where(live, head["feature"]["kernel"][0, 0], 0))
    return x @ head["classifier"]["kernel"] + head["classifier"]["bias"]


def grouped(net: MobileNet, params: Params) -> Weights:
    """The weights as the walk reads them, each part's by path."""
    weights: Weights = {"stem": flat({"first_conv": params["first_conv"]})}
    for i, stage in enumerate(net.stages):
        blocks = [
            flat({"block": params[f"mb{i + 1}"][f"block{b}"]}) for b in range(stage.depths[-1])
        ]
        rest = (
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks[1:]) if len(blocks) > 1 else {}
        )
        weights[f"mb{i + 1}"] = {"first": blocks[0], "rest": rest}
    return weights | {"head": flat({**params["last_conv"], "classifier": params["classifier"]})}


def walk(
    net: MobileNet,
    weights: Weights,
    images,
    choice: Choice,
    run: Callable,
    rest: Callable | None = None,
) -> tuple[Array, Weights]:
    """The pooled features of the head, and what `run` makes of the weights of each part.

    `rest` runs a stage's later blocks.
    """
    made = {}
    later = rest or _rest
    size = strided(images.shape[1], net.first_stride)
    width = choice.first
    widths = net.first_widths
    stem = [
        (
            Op(
                "conv",
                "first_conv",
                (-1,),
                size,
                size,
                net.channels,
                c,
                3,
                net.first_stride,
                norm=True,
                act=net.activation,
            ),
        )
        for c in widths
    ]
    x, made["stem"] = run(
        Forms(stem, np.arange(len(stem)), widths[-1]), (width,), weights["stem"], images
    )
    for i, stage in enumerate(net.stages):
        mine = weights[f"mb{i + 1}"]
        kernels = choice.kernels[i]
        expands = choice.expands[i]
        out = choice.widths[i]
        x, first = run(
            _first_forms(net, stage, size, widths),
            (width, out, kernels[0], expands[0]),
            mine["first"],
            x,
        )
        x = x * (jnp.arange(stage.widths[-1]) < jnp.asarray(stage.widths)[out])
        size = strided(size, stage.stride)
        width = out
        widths = stage.widths
        depth = jnp.asarray(stage.depths)[choice.depths[i]]
        x, others = later(
            _later_forms(net, stage, size),
            depth,
            out,
            jnp.stack(kernels),
            jnp.stack(expands),
            mine["rest"],
            x,
            run,
        )
        made[f"mb{i + 1}"] = {"first": first, "rest": others}
    x, made["head"] = run(_head_forms(net, size), (width, choice.last), weights["head"], x)
    return x[:, 0, 0], made


def _rest(
    forms: Forms, depth, width, kernels, expands, weights: PyTree, x, run: Callable
) -> tuple[Array, PyTree]:
    """The blocks after a stage's first.

    A loop over their stacked weights, as long as the genome's depth.
    """
    if not weights:
        return x, {}

    def block(b, state):
        x, made = state
        x, arrays = run(
            forms,
            (width, kernels[b], expands[b]),
            jax.tree.map(lambda leaf: leaf[b - 1], weights),
            x,
        )
        return x, jax.tree.map(lambda leaf, row: leaf.at[b - 1].set(row), made, arrays)

    one = jax.tree.map(lambda leaf: leaf[0], weights)
    shapes = jax.eval_shape(
        lambda arrays, x: run(forms, (width, kernels[0], expands[0]), arrays, x)[1], one, x
    )
    made = jax.tree.map(lambda leaf: jnp.zeros((len(kernels) - 1, *leaf.shape), leaf.dtype), shapes)
    return jax.lax.fori_loop(1, depth, block, (x, made))


def calibrated(forms: Forms, choices: tuple, arrays: Arrays, x) -> tuple[Array, Arrays]:
    """The branch on one joint batch, and the arrays with its statistics folded in."""

    def branch(ops):
        def compute(arrays, x):
            y, used = _jointly(ops, take(arrays, ops), x[..., : ops[0].c_in])
            full = {path: len(arrays[path]["scale"]) for path in normed}
            return padded(y, forms.width), {
                path: {name: padded(v, full[path]) for name, v in used[path].items()}
                for path in normed
            }

        return compute

    normed = [path for path in arrays if "scale" in arrays[path]]
    y, stats = jax.lax.switch(
        branch_of(forms, choices), [branch(ops) for ops in forms.branches], arrays, x
    )
    return y, {
        path: folded(found, stats[path]) if path in stats else found
        for path, found in arrays.items()
    }


def _evaluate(forms: Forms, choices: tuple, arrays: Arrays, x) -> tuple[Array, Arrays]:
    """The branch with folded weights."""

    def branch(ops):
        ops = without_norms(ops)

        def compute(arrays, x):
            weights = take(arrays, ops)
            return padded(
                joined(parts_of(ops, lambda x: forward(ops, weights, x)[0], x[..., : ops[0].c_in])),
                forms.width,
            )

        return compute

    return jax.lax.switch(
        branch_of(forms, choices), [branch(ops) for ops in forms.branches], arrays, x
    ), {}


def _jointly(ops: tuple[Op, ...], weights: Arrays, x) -> tuple[Array, Arrays]:
    """`forward` with the statistics of the whole batch.

    But a part of it at a time from norm to norm.

    So a norm's input is written once and read once; its statistics are pooled from those of the
    parts.
    """
    # By position: the image, and what stands before each norm.
    raw = {-1: x}
    stats = {}

    def result(i: int, part):
        return (
            part[-1]
            if i == -1
            else norm_act(ops[i], weights, part[i] if i in raw else before_norm(i, part), stats)
        )

    def before_norm(i: int, part):
        return operate(ops[i], weights, [result(j, part) for j in ops[i].inputs])

    def sources(i: int) -> set[int]:
        return {i} if i in raw else set().union(*map(sources, ops[i].inputs))

    def normed(i: int, part):
        y = before_norm(i, part)
        return y, batch_statistics(y)

    for i, op in enumerate(ops):
        if op.norm:
            found, each = parts_of(ops, partial(normed, i), {j: raw[j] for j in sources(i)})
            raw[i] = joined(found)
            stats[op.path] = pooled(**each)
    last = len(ops) - 1
    return joined(parts_of(ops, partial(result, last), {j: raw[j] for j in sources(last)})), stats


def parts_of(ops: tuple[Op, ...], run: Callable, batch):
    """`run` on so many rows of the arrays at a time.

    So many that the operators' activations stay in a core's cache; results stacked.
    """
    return in_parts(run, batch, max(op.height * op.width * op.c_out for op in ops))


def branch_of(forms: Forms, choices: tuple) -> Array:
    """Number of the branch that these choices take."""
    return jnp.asarray(forms.table)[choices]


def live_width(forms: Forms, choices: tuple) -> Array | None:
    """Channels of the output that the genome has, None where the branch computes just these."""
    return jnp.asarray(forms.widths)[choices[1]] if forms.widths else None


def padded(x, width: int):
    """Channels of 0 up to the width."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


def _first_forms(net: MobileNet, stage: Stage, size: int, widths: tuple[int, ...]) -> Forms:
    """Of a first block.

    Output widths that differ from the input's share a branch, the widest's: the rest is masked
    behind it.
    """
    keys: dict[tuple[int, ...], int] = {}

    def position(c_in, c_out, kernel, expand):
        exact = c_out == c_in or stage.widths[-1] == c_in
        return keys.setdefault(
            (c_in, c_out if exact else stage.widths[-1], kernel, expand), len(keys)
        )

    table = [
        position(*choices)
        for choices in product(widths, stage.widths, stage.kernels, stage.expands)
    ]
    shape = (len(widths), len(stage.widths), len(stage.kernels), len(stage.expands))
    branches = [_block(net, stage, size, stage.stride, Sizes(*key)) for key in keys]
    return Forms(branches, np.reshape(table, shape), stage.widths[-1], stage.widths)


def _later_forms(net: MobileNet, stage: Stage, size: int) -> Forms:
    """Of a later block, whose output is as wide as its input."""
    choices = list(product(stage.widths, stage.kernels, stage.expands))
    branches = [
        _block(net, stage, size, 1, Sizes(width, width, kernel, expand))
        for width, kernel, expand in choices
    ]
    shape = (len(stage.widths), len(stage.kernels), len(stage.expands))
    return Forms(branches, np.arange(len(choices)).reshape(shape), stage.widths[-1])


def _block(net: MobileNet, stage: Stage, size: int, stride: int, sizes: Sizes) -> tuple[Op, ...]:
    ops: list[Op] = []
    append_block(ops, "block", net, stage, size, stride, sizes)
    return tuple(ops)


def _head_forms(net: MobileNet, size: int) -> Forms:
    """Of the head up to its pool."""
    keys: dict[tuple[int, int], int] = {}
    choices = product(net.stages[-1].widths, net.last_widths)
    table = [
        keys.setdefault((c_in, head_width(net, c_in, last)), len(keys)) for c_in, last in choices
    ]
    shape = (len(net.stages[-1].widths), len(net.last_widths))
    return Forms(
        [_head(net, size, *key) for key in keys],
        np.reshape(table, shape),
        max(wide for _, wide in keys),
    )


def _head(net: MobileNet, size: int, c_in: int, wide: int) -> tuple[Op, ...]:
    expand = Op("conv", "expand", (-1,), size, size, c_in, wide, norm=True, act=net.activation)
    return expand, Op("pool", "", (0,), 1, 1, wide, wide)
