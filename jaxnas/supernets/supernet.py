"""What a weight-sharing supernet is: pure functions over a plain nested dict of parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnas.spaces.space import Space
from jaxnas.supernets.subnet import Arrays, Leaf, Subnet
from jaxnas.types import Genome, PRNGKey
from jaxnas.workload import Op

Params = dict[str, Any]  # nested dict of arrays, the path of an Op leads to its arrays


class Supernet(NamedTuple):
    """One network that holds every network of a space.

    `apply` takes a traced genome: one compiled program per image size serves every subnet. `stats` None means batch
    statistics, returned beside the logits; statistics have the shape of the largest network. The images must have the
    genome's resolution already.
    """

    space: Space
    init: Callable[[PRNGKey], Params]
    apply: Callable[..., tuple[Float[Array, "n classes"], PyTree]]  # (params, images, genome, stats=None)
    ops: Callable[[Genome | np.ndarray], tuple[Op, ...]]

    def extract(self, params: Params, genome: Genome | np.ndarray, stats: PyTree) -> Subnet:
        """The subnet of a genome on its own, without masks, with its share of the weights and the statistics given."""
        ops = self.ops(genome)
        return Subnet(ops, take(params, ops), take(stats, ops))


def take(tree: PyTree, ops: tuple[Op, ...]) -> Arrays:
    """The operators' shares of a supernet's weights or statistics: first channels, central taps. Pure, differentiable."""
    return {op.path: {name: _share(name, array, op) for name, array in found.items()} for op in ops if (found := _at(tree, op.path))}


def _at(tree: PyTree, path: str) -> dict[str, Leaf]:
    """The arrays at a path, {} where there are none."""
    for part in filter(None, path.split("/")):
        tree = tree.get(part, {})
    return {name: array for name, array in tree.items() if not isinstance(array, dict)}


def _share(name: str, array: Leaf, op: Op) -> Leaf:
    if name != "kernel":
        return array[: op.c_out]
    c_in = op.c_in // op.groups
    if op.kind == "linear":
        return array[:c_in, : op.c_out]
    edge = (array.shape[0] - op.kernel) // 2
    return array[edge : edge + op.kernel, edge : edge + op.kernel, :c_in, : op.c_out]
