"""What a weight-sharing supernet is: pure functions over a plain nested dict of parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnas.data.pixels import Pixels
from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.subnet import Arrays, Leaf, Subnet
from jaxnas.numerics.numerics import Numerics
from jaxnas.spaces.space import Space
from jaxnas.types import Genome, PRNGKey

Params = dict[str, Any]  # nested dict of arrays, the path of an Op leads to its arrays


class Switched(NamedTuple):
    """A genome's evaluation in two steps.

    Both are traced over genomes (choice indices) and not differentiated.

    `calibrate(params, genome, images)` folds the statistics of one joint batch into weights for
    `logits(weights, genome, images)`.
    """

    calibrate: Callable[[Params, Genome, Array], PyTree]
    logits: Callable[[PyTree, Genome, Array | Pixels], Float[Array, "n classes"]]


class Supernet(NamedTuple):
    """One network that holds every network of a space.

    `apply` takes a traced genome, hard or soft (see `interpreter`): one compiled program per image
    size serves every subnet. `stats` None means batch statistics, returned beside the logits;
    statistics have the shape of the largest network. The images must have the genome's resolution
    already.
    """

    space: Space
    init: Callable[[PRNGKey], Params]
    # (params, images, genome, stats=None)
    apply: Callable[..., tuple[Float[Array, "n classes"], PyTree]]
    ops: Callable[[Genome | np.ndarray], tuple[Op, ...]]
    switched: Switched  # how subnets are evaluated where masks are dear: on a CPU
    # How subnets are evaluated in other numbers, as the int8 networks that they may become.
    simulated: Callable[[Numerics], Switched]
    # (params, genome, images): `apply` in their own training on a CPU.
    switched_training: Callable[..., Array]

    def extract(self, params: Params, genome: Genome | np.ndarray, stats: PyTree) -> Subnet:
        """The subnet of a genome on its own, without masks.

        With its share of the weights and the statistics given.
        """
        ops = self.ops(genome)
        return Subnet(ops, take(params, ops), take(stats, ops))


def path_of(keys: tuple[Any, ...]) -> str:
    """The path of an array of a nested tree, from the keys that JAX has for it.

    "mb1/block0/project/kernel".
    """
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def take(tree: PyTree, ops: tuple[Op, ...]) -> Arrays:
    """The operators' shares of a supernet's weights or statistics: first channels, central taps.

    Pure, differentiable.
    """
    return {op.path: _share(found, op) for op in ops if (found := at(tree, op.path))}


def flat(tree: PyTree, path: str = "") -> Arrays:
    """A tree's arrays by path, as the operators name them."""
    here = {name: found for name, found in tree.items() if not isinstance(found, dict)}
    below = [
        flat(found, f"{path}/{name}" if path else name)
        for name, found in tree.items()
        if isinstance(found, dict)
    ]
    return ({path: here} if here else {}) | {
        p: arrays for part in below for p, arrays in part.items()
    }


def at(tree: PyTree, path: str) -> dict[str, Leaf]:
    """The arrays at a path of a nested or a flat tree, {} where there are none."""
    if path in tree:
        return {name: array for name, array in tree[path].items() if not isinstance(array, dict)}
    for part in filter(None, path.split("/")):
        tree = tree.get(part, {})
    return {name: array for name, array in tree.items() if not isinstance(array, dict)}


def _share(arrays: dict[str, Leaf], op: Op) -> dict[str, Leaf]:
    vectors = {name: array[: op.c_out] for name, array in arrays.items() if array.ndim == 1}
    if len(vectors) == len(arrays):
        return vectors
    return vectors | OPERATORS[op.kind].share(arrays, op)
