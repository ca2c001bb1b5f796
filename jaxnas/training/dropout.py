"""Dropout and drop-connect, which regularise the largest network of a training step."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

# (position of an operator, its first input) -> what is left of that input.
Drop = Callable[[int, Array], Array]
OUTSIDE = ("resolution", "width")  # kinds of genes that parts have which are no blocks
STAGES = 2  # of blocks that are dropped, from the last


def make_drop(ops: Sequence[Op], rates: Mapping[int, float], key: PRNGKey) -> Drop:
    """What `forward` applies to the first inputs of `linear` (dropout) and `add` (drop-connect).

    What is kept is scaled up. Dropout zeroes single features; drop-connect an image's whole branch,
    so that the shortcut alone is left.
    """

    def drop(position: int, x: Array) -> Array:
        rate = rates.get(position, 0.0)
        if rate == 0:
            return x
        shape = x.shape if ops[position].kind == "linear" else (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = jax.random.bernoulli(jax.random.fold_in(key, position), jnp.float32(1 - rate), shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return drop


def drop_rates(space: Space, dropout: float, drop_connect: float) -> dict[int, float]:
    """{position of an operator in the largest network: rate at which its first input is dropped}.

    Dropout is that of the last operator. Drop-connect drops the branch of an `add` whose other
    input is a plain shortcut, one of the results that the branch was computed from. Its rate is
    `drop_connect` * index of the block / number of blocks, in the last two stages (AttentiveNAS).
    Blocks are `blocks_of` the space; a block's stage is its name before the last "/", and where
    names have none, every block is dropped.

    Raises:
        UserError: a share above 0 of what the largest network does not have.
    """
    ops = space.ops(space.largest)
    blocks = blocks_of(space)
    last = list(dict.fromkeys(map(_stage, blocks)))[-STAGES:]
    rates = {len(ops) - 1: dropout} if ops[-1].kind == "linear" else {}
    for position, op in enumerate(ops):
        if op.kind == "add" and _is_plain(ops, op):
            block = _block(ops, op.inputs[0], blocks)
            if block and _stage(block) in last:
                rates[position] = drop_connect * blocks.index(block) / len(blocks)
    _check_some(ops, rates, dropout, drop_connect)
    return rates


def blocks_of(space: Space) -> list[str]:
    """Names of the parts that a residual branch may be: they add, or choose more than a width."""
    kinds = [{space.genes[i].kind for i in part.genes} for part in space.parts]
    return [
        part.name
        for part, own, ops in zip(space.parts, kinds, space.tabled, strict=True)
        if own - set(OUTSIDE) or any(op.kind == "add" for op in ops)
    ]


def _stage(block: str) -> str:
    return block.rpartition("/")[0]


def _is_plain(ops: Sequence[Op], add: Op) -> bool:
    """Whether the second input is a result that the first was computed from."""
    branch, shortcut = add.inputs
    read: set[int] = set()
    for i in range(branch, -1, -1):
        if i == branch or i in read:
            read.update(ops[i].inputs)
    return shortcut in read


def _block(ops: Sequence[Op], i: int, blocks: Sequence[str]) -> str:
    """The block in which a result is computed, "" outside the blocks."""
    while i >= 0 and not ops[i].path:
        i = ops[i].inputs[0]
    path = ops[i].path if i >= 0 else ""
    return next((name for name in blocks if path == name or path.startswith(f"{name}/")), "")


def _check_some(
    ops: Sequence[Op], rates: Mapping[int, float], dropout: float, drop_connect: float
) -> None:
    """Refuses a share above 0 that drops nothing."""
    dropped = {ops[position].kind for position, rate in rates.items() if rate > 0}
    if dropout > 0 and "linear" not in dropped:
        raise UserError("train.dropout needs a linear layer at the end, got none: set it to 0")
    if drop_connect > 0 and "add" not in dropped:
        raise UserError(
            "train.drop_connect needs a block of stride 1 and equal widths, with a plain shortcut, "
            "in the last two stages of the largest network, which has none: set it to 0"
        )
