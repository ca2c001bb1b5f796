"""Eight numbers that a person would name first of a network (HW-PR-NAS's architecture features)."""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.networks.op import Op
from jaxnas.spaces.cost_tables import counted
from jaxnas.spaces.layer_sequence import looked_up, need_parts, total
from jaxnas.spaces.operator_graph import ways
from jaxnas.spaces.space import Space

HAND_FEATURES = (
    "depth",
    "convolutions",
    "log2_macs",
    "log2_params",
    "input_pixels",
    "first_width",
    "last_width",
    "downsamplings",
)


def hand_features(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n 8"]:
    """`HAND_FEATURES` of each network, float32.

    Depth is the number of operators with weights on the longest way from the image to the result;
    convolutions are counted wherever they stand. The first width is that of the first part's
    result, the last one what the last operator reads. Downsamplings halve the side of the image to
    that of the smallest map of more than a pixel. Traceable. Raises a `UserError` where the space
    has no parts.
    """
    need_parts(space, "list of hand features")
    rows = looked_up(space, _tables(space), genomes)
    costs = space.costs(genomes)
    pixels = rows[..., 0, 0]
    columns = [
        ways(space, genomes).depth,
        rows[..., 1].sum(axis=-1),
        jnp.log2(1.0 + costs.macs),
        jnp.log2(1.0 + costs.params),
        pixels,
        rows[..., 0, 2],
        rows[..., -1, 3],
        jnp.log2(pixels / rows[..., 4].min(axis=-1)),
    ]
    return jnp.stack([jnp.asarray(column, jnp.float32) for column in columns], axis=-1)


@cache
def _tables(space: Space) -> tuple[np.ndarray, ...]:
    return tuple(_figures(ops) for ops in space.tabled)


def _figures(ops: tuple[Op, ...]) -> Int[np.ndarray, "*choices 5"]:
    """Pixels read, convolutions, channels of the result and of what the last operator reads, side.

    The side is that of the result, where it is a map, else of what is read.
    """
    shape = ops[0].repeat.shape
    last = [op for op in ops if counted(op)][-1:] or [ops[-1]]
    side = np.where(np.asarray(ops[-1].height) > 1, ops[-1].height, ops[0].height)
    figures = [
        ops[0].height,
        total([op.repeat for op in ops if op.kind == "conv"], shape),
        ops[-1].c_out,
        last[0].c_in,
        np.where(side > 1, side, np.iinfo(np.int32).max),
    ]
    return np.stack([np.broadcast_to(one, shape) for one in figures], axis=-1).astype(np.int32)
