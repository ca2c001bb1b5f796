"""Graph convolutions over the operator graph (Kipf & Welling, ICLR 2017), along and against it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.predictors.encoders import Weights, dense, standardised
from jaxnas.predictors.predictor import Choices
from jaxnas.spaces.operator_graph import OperatorGraph, operator_graph
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class GraphConvolution:
    """Parts hear what they read and who reads them, layer by layer (`encoders.Encoder`).

    A layer gives each part a linear function of its own vector, of the sum of those that it reads
    and of the sum of its readers', each sum divided by the square root of its count. The result is
    the mean over all parts, and that over the live ones.
    """

    width: int = 32
    layers: int = 3

    def features(self, space: Space, genomes: Choices) -> OperatorGraph:
        return OperatorGraph(
            standardised(_nodes, space, genomes), operator_graph(space, genomes).reads
        )

    def fresh(self, key: PRNGKey, features: OperatorGraph) -> Weights:
        weights = {}
        width = features.nodes.shape[-1]
        for layer in range(self.layers):
            own = jax.random.fold_in(key, layer)
            weights[f"w{layer}"] = dense(own, 3 * width, self.width)
            weights[f"b{layer}"] = jnp.zeros(self.width, jnp.float32)
            width = self.width
        return weights

    def encode(self, weights: Weights, features: OperatorGraph) -> Float[Array, "n width"]:
        reads = _shared(features.reads)
        readers = _shared(jnp.swapaxes(features.reads, -1, -2))
        x = features.nodes
        for layer in range(self.layers):
            heard = jnp.concatenate([x, reads @ x, readers @ x], axis=-1)
            new = jax.nn.swish(heard @ weights[f"w{layer}"] + weights[f"b{layer}"])
            x = new + x if layer else new
        live = features.reads.any(-1) | features.reads.any(-2)
        return jnp.concatenate([x.mean(axis=-2), _mean_of(x, live)], axis=-1)


def _nodes(space: Space, genomes: Choices) -> Float[Array, "n parts features"]:
    return operator_graph(space, genomes).nodes


def _shared(reads: Float[Array, "n parts parts"]) -> Float[Array, "n parts parts"]:
    return reads / jnp.sqrt(jnp.maximum(reads.sum(axis=-1, keepdims=True), 1))


def _mean_of(x: Float[Array, "n parts width"], there: Array) -> Float[Array, "n width"]:
    weight = there[..., None].astype(x.dtype)
    return (x * weight).sum(axis=-2) / jnp.maximum(weight.sum(axis=-2), 1)
