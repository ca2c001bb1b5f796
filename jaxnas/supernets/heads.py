"""The head of a network: its classifier, apart from the layers before it.

A head is the share of the weights at one path, so another task or other classes are
`{**params, path: head}`.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space

Head = dict[str, Any]  # arrays


def path_of_head(space: Space) -> str:
    """Where in the parameters the head lies: the path of the last operator that has one."""
    return next(op.path for op in reversed(space.ops(space.largest)) if op.path)


def check_linear(space: Space) -> None:
    """Refuses a space whose networks do not end in a fully connected layer."""
    last = space.ops(space.largest)[-1]
    if last.kind != "linear":
        raise UserError(
            f"search.hybrid trains a fully connected layer on its inputs, and networks of "
            f"{space.name} end in {last.kind}: leave search.hybrid out"
        )


def without_head(params: dict[str, Any], space: Space) -> dict[str, Any]:
    """Weights with the identity as their head: logits become what the head would see, (n, c)."""
    path = path_of_head(space)
    width = len(params[path]["kernel"])
    identity = {
        "kernel": jnp.eye(width, dtype=jnp.float32),
        "bias": jnp.zeros(width, jnp.float32),
    }
    return {**params, path: identity}


def classify(head: Head, features: Float[Array, "n c"]) -> Float[Array, "n classes"]:
    """Logits of a head that is a fully connected layer."""
    return features @ head["kernel"] + head["bias"]
