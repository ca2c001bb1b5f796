"""The supernet of any space, read off its parts: one program for every genome, hard or soft.

A gene is a row of weights over its choices. A genome's are one-hot; of a soft genome they are
probabilities, and the loss has a gradient in them: sizes are mixtures of masks (Wan et al.,
"FBNetV2", CVPR 2020), kernels mixtures of centres (Stamoulis et al., "Single-Path NAS", 2019),
picks mixtures of results (Liu et al., "DARTS", ICLR 2019).

Every operator is computed at its largest size. A channel beyond the active width is exactly 0 in
every activation, because the norm's scale and shift (or the columns of a kernel without a norm) are
masked, which costs one vector for each operator rather than one tensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxnas.networks.activations import ACTIVATIONS, KEEP_ZERO
from jaxnas.networks.norm import batch_norm, norm_act_of_batch
from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.spaces.parts import IMAGE, SIZES, inputs_of, made_by
from jaxnas.spaces.space import Space
from jaxnas.supernets.elastic import Row, Sizes
from jaxnas.supernets.supernet import at
from jaxnas.types import Genome, SoftGenome


class Plan(NamedTuple):
    """How the interpreter computes one part."""

    name: str
    genes: tuple[int, ...]  # positions, without the static one
    ops: tuple[Op, ...]  # sizes have an axis for each of the genes
    largest: tuple[Op, ...]
    inputs: tuple[str, ...]
    absent: np.ndarray | None  # bool, by the genes' choices: the part hands on an input
    handed: int  # the position of that input


def build_apply(space: Space) -> Callable[..., tuple[Float[Array, "n classes"], PyTree]]:
    """(params, images, genome, stats=None) -> logits and the statistics used."""
    plans = planned(space)

    def apply(
        params: PyTree,
        images: Float[Array, "n h w c"],
        genome: Genome | SoftGenome,
        stats: PyTree | None = None,
    ) -> tuple[Float[Array, "n classes"], PyTree]:
        values = {IMAGE: images}
        used: dict[str, Any] = {}
        for plan in plans:
            inputs = [values[name] for name in plan.inputs]
            genes = [_gene(space, genome, i) for i in plan.genes]
            run = _skipping if _may_skip(plan, genome, stats) else _computed
            values[plan.name], found = run(plan, params, stats, inputs, genes)
            for path, statistics in found.items():
                put(used, path, statistics)
        return values[plans[-1].name], used

    return apply


def planned(space: Space) -> list[Plan]:
    """A plan for each part; maps are as large as at the largest resolution."""
    return [_plan(space, i, sources) for i, sources in enumerate(inputs_of(space.parts))]


def _plan(space: Space, i: int, sources: tuple[str, ...]) -> Plan:
    part = space.parts[i]
    index = *(-1 if gene == space.static else slice(None) for gene in part.genes), ...
    ops = tuple(
        replace(op, **{name: getattr(op, name)[index] for name in SIZES}) for op in space.tabled[i]
    )
    genes = tuple(gene for gene in part.genes if gene != space.static)
    return Plan(part.name, genes, ops, tuple(map(largest, ops)), sources, *_absent(ops))


def largest(op: Op) -> Op:
    """The operator that holds all of its sizes, in ints."""
    if (op.repeat == 0).all() and op.kind not in (INPUT, PICK):
        return replace(op, **{name: int(getattr(op, name).max()) for name in SIZES})
    sizes = {name: int(getattr(op, name).max()) for name in SIZES}
    within = int((op.c_in // op.groups).max())
    return replace(op, **sizes | {"groups": max(sizes["c_in"] // within, 1)})


def _absent(ops: Sequence[Op]) -> tuple[np.ndarray | None, int]:
    """Where a part has no operator, if that is so anywhere, and the input that it then hands on."""
    real = [op for op in ops if op.kind not in (INPUT, PICK)]
    absent = np.all([op.repeat == 0 for op in real], axis=0) if real else np.array(False)
    made = made_by(ops)[-1][absent] if absent.any() else np.array([])
    if not len(made) or absent.all() or (made != made[0]).any():
        return None, 0
    return absent, int(made[0])


def _gene(space: Space, genome: Genome | SoftGenome, i: int) -> Int[Array, ""] | Row:
    return genome[i] if genome.ndim == 1 else genome[i, : len(space.genes[i].choices)]


def _may_skip(plan: Plan, genome: Genome | SoftGenome, stats: PyTree | None) -> bool:
    """Skipping pays in evaluation alone: a gradient through a conditional is dear."""
    return stats is not None and genome.ndim == 1 and plan.absent is not None


def _skipping(plan: Plan, params: PyTree, stats: PyTree, inputs: list[Array], genes: list):
    """`_computed`, or the input that an absent part hands on."""
    absent = jnp.asarray(plan.absent)[tuple(genes)]

    def handed(inputs):
        return fitted(inputs[plan.handed], plan.largest[-1].c_out)

    def computed(inputs):
        return _computed(plan, params, stats, inputs, genes)[0]

    found = {op.path: at(stats, op.path) for op in plan.ops if op.norm}
    return jax.lax.cond(absent, handed, computed, inputs), found


def _computed(plan: Plan, params: PyTree, stats: PyTree | None, inputs: list[Array], genes: list):
    """The part's result, and the statistics used by path."""
    values: list[Array] = []
    used = {}
    for op, most in zip(plan.ops, plan.largest, strict=True):
        sizes = Sizes(op, genes, [plan.ops[j] for j in op.inputs])
        if op.kind == INPUT:
            values.append(fitted(inputs[len(values)], most.c_out))
        elif op.kind == PICK:
            values.append(_picked(sizes, [fitted(values[j], most.c_out) for j in op.inputs]))
        else:
            given = None if stats is None else at(stats, op.path)
            x, found = _operated(most, sizes, at(params, op.path), _inputs(most, values), given)
            values.append(x)
            if op.norm:
                used[op.path] = found
    return values[-1], used


def _inputs(op: Op, values: list[Array]) -> list[Array]:
    """What the operator reads; all of one width but those that are joined."""
    read = [values[j] for j in op.inputs]
    return read if op.kind == "concat" else [fitted(x, op.c_in) for x in read]


def _operated(op: Op, sizes: Sizes, arrays: dict[str, Any], inputs: list[Array], stats):
    """An operator with bias, norm and activation under masks, and the norm's statistics."""
    operator = OPERATORS[op.kind]
    live = sizes.live("c_out", op.c_out)
    masked = (
        dict(arrays)
        if live is None
        else {name: array * live if array.ndim == 1 else array for name, array in arrays.items()}
    )
    own, weights = operator.elastic(op, arrays, sizes)
    x = operator.compute(own, weights, *inputs)
    if op.bias:
        x = x + masked["bias"].astype(x.dtype)
    y, stats = _activated(op, x, masked, stats)
    return y if live is None or op.act in KEEP_ZERO else y * (live > 0), stats


def _activated(op: Op, x: Array, masked: dict[str, Any], stats):
    """Norm and activation, and the norm's statistics."""
    act = ACTIVATIONS[op.act]
    if not op.norm:
        return act(x), None
    if stats is None:
        return norm_act_of_batch(x, masked["scale"], masked["shift"], act)
    return act(batch_norm(x, masked["scale"], masked["shift"], stats)), stats


def _picked(sizes: Sizes, values: list[Array]) -> Array:
    """One of the values, or their mixture."""
    choices, at = sizes.chosen("choice")
    offered = [values[choice] for choice in choices]
    if len(offered) == 1:
        return offered[0]
    if at.ndim == 0:
        found = offered[-1]
        for i, value in enumerate(offered[:-1]):
            found = jnp.where(at == i, value, found)
        return found
    return sum(
        (w.astype(v.dtype) * v for w, v in zip(at, offered, strict=True)),
        jnp.zeros((), offered[0].dtype),
    )


def fitted(x: Any, channels: int) -> Array:
    """`x` with its channels cut, or filled up with zeros, to this number."""
    if x.shape[-1] >= channels:
        return x[..., :channels]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, channels - x.shape[-1])])


def put(tree: dict[str, Any], path: str, arrays: dict[str, Any]) -> None:
    """Sets the arrays at a path of a nested tree."""
    *above, last = path.split("/")
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = {**tree.get(last, {}), **arrays}
