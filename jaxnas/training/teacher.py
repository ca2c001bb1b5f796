"""Whether the largest network is one that others can learn from."""

import jax

from jaxnas.spaces.space import Space
from jaxnas.training.method import Method
from jaxnas.training.sandwich import Sandwich
from jaxnas.training.shrinking import Shrinking

TRIED = 1000  # random networks


def caution(method: Method, space: Space) -> str | None:
    """What is wrong with a teacher that has fewer weights than most of those it teaches.

    Every gene of it has its last choice, which says nothing of operations, for these have no order.
    None where nobody is taught, no operation is chosen, or the teacher is large.
    """
    unordered = any(gene.kind == "operation" for gene in space.genes)
    if not isinstance(method, Sandwich | Shrinking) or not unordered:
        return None
    random = space.costs(space.sample(jax.random.key(0), TRIED)).params
    heavier = int((random > space.costs(space.largest).params).sum())
    if 2 * heavier <= TRIED:
        return None
    return (
        f"the last choice of every gene makes the network that teaches the others, and in "
        f"{space.name} {heavier} of {TRIED:,} random networks have more weights than it: "
        "train.method spos and fairnas need no teacher"
    )
