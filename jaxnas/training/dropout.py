"""Dropout and drop-connect, which regularise the largest network of a training step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.types import PRNGKey

# (position of an operator, its first input) -> what is left of that input.
Drop = Callable[[int, Array], Array]


def make_drop(ops: tuple[Op, ...], key: PRNGKey, dropout: float, drop_connect: float) -> Drop:
    """What `forward` applies to the first inputs of `linear` (dropout) and `add` (drop-connect).

    What is kept is scaled up.

    Dropout zeroes single features, drop-connect an image's whole branch, of which the shortcut is
    left.
    """
    rates = drop_rates(ops, dropout, drop_connect)

    def drop(position: int, x: Array) -> Array:
        rate = rates.get(position, 0.0)
        if rate == 0:
            return x
        shape = x.shape if ops[position].kind == "linear" else (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = jax.random.bernoulli(jax.random.fold_in(key, position), jnp.float32(1 - rate), shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return drop


def drop_rates(ops: tuple[Op, ...], dropout: float, drop_connect: float) -> dict[int, float]:
    """{position of an operator: rate at which its first input is dropped}.

    Drop-connect as AttentiveNAS has it: only in the last two stages, only around blocks of stride 1
    whose widths agree, at `drop_connect` * index of the block / number of blocks.

    Raises:
        UserError: a share above 0 of what the network does not have, or of branches outside blocks
            with paths like mb2/block1.
    """
    blocks = list(dict.fromkeys(filter(None, map(_block, ops))))
    last = list(dict.fromkeys(block.split("/")[0] for block in blocks))[-2:]
    rates = {}
    for position, op in enumerate(ops):
        if op.kind == "linear":
            rates[position] = dropout
        elif op.kind == "add":
            branch, around = (ops[i] for i in op.inputs)
            block = _block(branch)
            if drop_connect and not block:
                raise UserError(
                    "train.drop_connect knows branches in blocks like mb2/block1, got one that "
                    f"ends in {branch.path!r}: set it to 0"
                )
            plain = around.kind != "avgpool2" and not around.path.endswith("/shortcut")
            rates[position] = (
                drop_connect * blocks.index(block) / len(blocks)
                if plain and block.split("/")[0] in last
                else 0.0
            )
    _check_some(ops, rates, dropout, drop_connect)
    return rates


def _check_some(
    ops: tuple[Op, ...], rates: dict[int, float], dropout: float, drop_connect: float
) -> None:
    """Refuses a share above 0 that drops nothing."""
    dropped = {ops[position].kind for position, rate in rates.items() if rate > 0}
    if dropout > 0 and "linear" not in dropped:
        raise UserError("train.dropout needs a linear layer, the network has none: set it to 0")
    if drop_connect > 0 and "add" not in dropped:
        raise UserError(
            "train.drop_connect needs a block of stride 1 and equal widths, with a way around it, "
            "in the last two stages of the largest network, which has none: set it to 0"
        )


def _block(op: Op) -> str:
    """mb2/block0 of mb2/block0/project, "" outside the blocks."""
    stage, *rest = op.path.split("/")
    return f"{stage}/{rest[0]}" if stage.startswith("mb") else ""
