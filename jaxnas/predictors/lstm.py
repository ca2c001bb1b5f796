"""A long short-term memory over the sequence of layers (Hochreiter & Schmidhuber 1997)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.predictors.encoders import Weights, dense, standardised
from jaxnas.predictors.predictor import Choices
from jaxnas.spaces.layer_sequence import layer_sequence
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

UNROLLED = 4  # layers of the sequence: steps of a loop are small programs


@dataclass(frozen=True)
class LSTM:
    """Reads the parts in order, several memories one upon the other (`encoders.Encoder`).

    The result is the last memory's output behind the last part.
    """

    width: int = 32
    memories: int = 2

    def features(self, space: Space, genomes: Choices) -> Float[Array, "n parts features"]:
        return standardised(layer_sequence, space, genomes)

    def fresh(self, key: PRNGKey, features: Float[Array, "n parts features"]) -> Weights:
        weights = {}
        inputs = features.shape[-1]
        for i in range(self.memories):
            read, kept = jax.random.split(jax.random.fold_in(key, i))
            weights[f"read{i}"] = dense(read, inputs, 4 * self.width)
            weights[f"kept{i}"] = dense(kept, self.width, 4 * self.width)
            # Forget gates begin open (Jozefowicz et al., ICML 2015).
            weights[f"b{i}"] = jnp.zeros(4 * self.width).at[self.width : 2 * self.width].set(1.0)
            inputs = self.width
        return weights

    def encode(
        self, weights: Weights, features: Float[Array, "n parts features"]
    ) -> Float[Array, "n width"]:
        x = jnp.swapaxes(features, 0, 1)
        for i in range(self.memories):
            x = _memory(x @ weights[f"read{i}"] + weights[f"b{i}"], weights[f"kept{i}"])
        return x[-1]


def _memory(
    read: Float[Array, "parts n gates"], kept: Float[Array, "width gates"]
) -> Float[Array, "parts n width"]:
    """The outputs at each part."""

    def step(carry, read):
        output, cell = carry
        into, forget, out, new = jnp.split(read + output @ kept, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
        output = jax.nn.sigmoid(out) * jnp.tanh(cell)
        return (output, cell), output

    start = jnp.zeros((read.shape[1], len(kept)), read.dtype)
    return jax.lax.scan(step, (start, start), read, unroll=UNROLLED)[1]
