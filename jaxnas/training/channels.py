"""Channels in order of importance, so that narrower networks keep the important ones.

Once-for-All sorts them before it shrinks expand ratios (Cai et al. 2020). Which channels may change
places is read off the operators of each part of a space.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.networks.op import PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, at, path_of

AVERAGE = "pool"  # what leads to a gate


class Group(NamedTuple):
    """Channels that change places together, and nobody outside their part sees.

    Paths of the operators that write them and of those that read them; importance is taken from
    the kernels of `ranked`, some of the readers.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    ranked: tuple[str, ...]


def sort_channels(params: Params, space: Space, ops: Sequence[Op] = ()) -> Params:
    """The supernet with the channels of every group by falling importance.

    Importance is the L1 norm of a channel's weights in the kernels that read it; the kernels of
    gates, which read averages, count only where there are no others. The largest network stays the
    same function, and so does the network of `ops`, if given: its channels come first, sorted among
    themselves.
    """
    widths = {op.path: op.c_out for op in ops}
    written: dict[str, Array] = {}
    read: dict[str, Array] = {}
    for group in channel_groups(space):
        first = next((widths[path] for path in group.writers if path in widths), None)
        order = _order([jnp.asarray(at(params, path)["kernel"]) for path in group.ranked], first)
        written |= dict.fromkeys(group.writers, order)
        read |= dict.fromkeys(group.readers, order)

    def sort(keys: tuple, array: Array) -> Array:
        path = path_of(keys[:-1])
        name = keys[-1].key
        if path in read and name == "kernel":
            array = jnp.take(array, read[path], axis=-2)
        if path in written and not name.startswith("transform"):  # which is over taps alone
            array = jnp.take(array, written[path], axis=-1)
        return array

    return jax.tree.map_with_path(sort, params)


def channel_groups(space: Space) -> tuple[Group, ...]:
    """The groups of all parts: channels that are written and read inside one part alone.

    Such are the middle channels of a block and those of its squeeze. The channels of a part's
    result stay in place, for other parts read them, and so do those of a convolution in groups, of
    a selection or a concatenation, of an operator of a kind unknown here, and of one whose weights
    lie outside its part.
    """
    return tuple(
        group
        for part, ops in zip(space.parts, space.tabled, strict=True)
        for group in _part_groups(part.name, ops)
    )


def _part_groups(name: str, ops: Sequence[Op]) -> Iterator[Group]:
    from scipy.sparse import coo_array  # a third of a second of import
    from scipy.sparse.csgraph import connected_components

    fixed = len(ops)  # a node beside the operators': what is tied to it stays in place
    edges = np.array([(fixed - 1, fixed), *_edges(name, ops)])
    graph = coo_array((np.ones(len(edges)), edges.T), (fixed + 1, fixed + 1))
    labels = connected_components(graph, directed=False)[1]
    for label in dict.fromkeys(labels[:fixed].tolist()):
        members = [i for i in range(fixed) if labels[i] == label]
        writers = [ops[i].path for i in members if ops[i].path]
        readers = [op for op in ops if op.path and _mixes(op) and labels[op.inputs[0]] == label]
        same_width = len({int(ops[i].c_out.max()) for i in members}) == 1
        if label != labels[fixed] and writers and readers and same_width:
            maps = [op.path for op in readers if not _is_average(ops, op.inputs[0])]
            paths = tuple(dict.fromkeys(op.path for op in readers))
            yield Group(tuple(dict.fromkeys(writers)), paths, tuple(dict.fromkeys(maps)) or paths)


def _edges(name: str, ops: Sequence[Op]) -> Iterator[tuple[int, int]]:
    """Pairs of results whose channels keep the same places; `len(ops)` stands for a fixed place."""
    first: dict[str, int] = {}
    for i, op in enumerate(ops):
        own = not op.path or op.path == name or op.path.startswith(f"{name}/")
        if own and _keeps_places(op):
            yield from ((i, j) for j in op.inputs)
        elif not (own and _mixes(op)):
            yield from ((j, len(ops)) for j in (i, *op.inputs))
        if op.path in first:  # two operators with the same weights
            before = ops[first[op.path]]
            yield from zip((i, *op.inputs), (first[op.path], *before.inputs), strict=False)
        elif op.path:
            first[op.path] = i


def _mixes(op: Op) -> bool:
    """Whether every channel of the result is made of all channels of the input."""
    return op.kind == "linear" or (op.kind == "conv" and bool((op.groups == 1).all()))


def _keeps_places(op: Op) -> bool:
    """Whether a result has the channels of its inputs, in the same places."""
    known = OPERATORS.get(op.kind)  # an input of the part is none
    return op.kind == PICK or (known is not None and known.channelwise) or _is_depthwise(op)


def _is_depthwise(op: Op) -> bool:
    same = np.equal(op.groups, op.c_in) & np.equal(op.groups, op.c_out)
    return op.kind == "conv" and bool(same.all()) and not _mixes(op)


def _is_average(ops: Sequence[Op], i: int) -> bool:
    """Whether a result is a global average, as those are that gates are made of."""
    return ops[i].kind == AVERAGE


def _order(kernels: Sequence[Float[Array, "..."]], first: int | None) -> Int[Array, "channels"]:
    """Input channels by falling L1 norm of their weights in the kernels.

    Those below `first`, if given, before the others.
    """
    importance = sum(
        (jnp.sum(jnp.abs(k), (*range(k.ndim - 2), k.ndim - 1)) for k in kernels), jnp.float32(0)
    )
    late = jnp.arange(len(importance)) >= (len(importance) if first is None else first)
    return jnp.lexsort((-importance, late))
