"""Models of one figure that a search learns as it goes: mean, deviation and joint samples.

Each traces with fixed shapes, over a memory of observations some rows of which are masked; x are
features (`encodings.grouped`), y scores of mean 0 and variance 1 (`copula`).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.predictors import gaussian_process
from jaxnas.predictors.perceptron import LatencyMLP, predict, shapes, trained_members
from jaxnas.predictors.trees import Splits, boosted, sums
from jaxnas.types import PRNGKey

Rows = Float[Array, "n features"]
Group = Int[np.ndarray, "features"]
RATES = (0.01, 2.0)  # learning rate and weight decay of the perceptrons, as in `mlp.fit`


class Observed(NamedTuple):
    """What there is to learn from."""

    x: Rows
    y: Float[Array, "n"]
    known: Bool[Array, "n"]


@runtime_checkable
class Surrogate(Protocol):
    """`fit` learns what takes time and is kept; `given` prepares the asking from it."""

    def initial(self, group: Group) -> Any: ...

    def fit(self, key: PRNGKey, group: Group, before: Any, observed: Observed) -> Any: ...

    def given(self, group: Group, fitted: Any, observed: Observed) -> Any: ...

    def predicted(
        self, group: Group, given: Any, x: Rows
    ) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        """Mean and standard deviation at each row."""
        ...

    def sampled(
        self, key: PRNGKey, group: Group, given: Any, x: Rows, count: int
    ) -> Float[Array, "count n"]:
        """Joint draws of what the figures might be at these rows."""
        ...


@dataclass(frozen=True)
class GaussianProcess:
    """`gaussian_process`, of a scale for each group of features."""

    steps: int = 15
    """Of the fit, each time, from where the last one ended."""

    def initial(self, group: Group) -> Any:
        return gaussian_process.default(int(group.max()) + 1)

    def fit(self, key: PRNGKey, group: Group, before: Any, observed: Observed) -> Any:
        return gaussian_process.fitted(before, group, *observed, steps=self.steps)

    def given(self, group: Group, fitted: Any, observed: Observed) -> Any:
        return gaussian_process.conditioned(fitted, group, *observed)

    def predicted(
        self, group: Group, given: Any, x: Rows
    ) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        return gaussian_process.predicted(given, group, x)

    def sampled(
        self, key: PRNGKey, group: Group, given: Any, x: Rows, count: int
    ) -> Float[Array, "count n"]:
        return gaussian_process.sampled(key, given, group, x, count)


def _mean_and_deviation(
    each: Float[Array, "members n"],
) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    return each.mean(axis=0), each.std(axis=0, ddof=1)


def _drawn(key: PRNGKey, each: Float[Array, "members n"], count: int) -> Float[Array, "count n"]:
    """Normal draws of the members' mean and covariance."""
    mean = each.mean(axis=0)
    normal = jax.random.normal(key, (count, len(each)), jnp.float32)
    return mean + normal @ (each - mean) / np.float32(len(each) - 1) ** 0.5


def _bootstrap(key: PRNGKey, known: Bool[Array, "n"], members: int) -> Float[Array, "members n"]:
    """How often each member sees each known row: drawn with replacement."""
    drawn = jax.random.categorical(
        key, jnp.where(known, 0.0, -jnp.inf), shape=(members, len(known))
    )
    counted = jnp.arange(len(known)) < known.sum()
    return jax.vmap(lambda rows: jnp.zeros(len(known)).at[rows].add(counted))(drawn)


def _perceptrons(given: LatencyMLP, x: Rows) -> Float[Array, "members n"]:
    """What they predict is the exponential of their targets."""
    return jnp.log(jax.vmap(predict, (0, None))(given, x))


@dataclass(frozen=True)
class Perceptrons:
    """`perceptron`s, each of a bootstrap sample."""

    members: int = 5
    steps: int = 200

    def initial(self, group: Group) -> Any:
        one = shapes(len(group), 1)
        return LatencyMLP(
            **{name: jnp.zeros((self.members, *shape), jnp.float32) for name, shape in one.items()}
        )

    def fit(self, key: PRNGKey, group: Group, before: Any, observed: Observed) -> Any:
        bootstrap_key, fit_key = jax.random.split(key)
        weight = _bootstrap(bootstrap_key, observed.known, self.members)
        keys = jax.random.split(fit_key, self.members)
        return trained_members(keys, observed.x, observed.y, weight, self.steps, *RATES)

    def given(self, group: Group, fitted: Any, observed: Observed) -> Any:
        return fitted

    def predicted(
        self, group: Group, given: Any, x: Rows
    ) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        return _mean_and_deviation(_perceptrons(given, x))

    def sampled(
        self, key: PRNGKey, group: Group, given: Any, x: Rows, count: int
    ) -> Float[Array, "count n"]:
        return _drawn(key, _perceptrons(given, x), count)


@dataclass(frozen=True)
class BoostedTrees:
    """scikit-learn's gradient boosting, each of a bootstrap sample, fitted on the host."""

    members: int = 5
    trees: int = 100
    depth: int = 3

    def initial(self, group: Group) -> Any:
        sides = (self.members, self.trees)
        nodes = 2**self.depth - 1
        return Splits(
            jnp.zeros((*sides, nodes), jnp.int32),
            jnp.zeros((*sides, nodes), jnp.float32),
            jnp.zeros((*sides, nodes + 1), jnp.float32),
            jnp.zeros(self.members, jnp.float32),
        )

    def fit(self, key: PRNGKey, group: Group, before: Any, observed: Observed) -> Any:
        bootstrap_key, seed_key = jax.random.split(key)
        weight = _bootstrap(bootstrap_key, observed.known, self.members)
        seed = jax.random.randint(seed_key, (), 0, 2**31 - 1, jnp.int32)

        def on_host(seed, x, y, weight):
            return boosted(
                int(seed),
                np.asarray(x),
                np.asarray(y),
                np.asarray(weight),
                self.trees,
                self.depth,
            )

        kinds = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), before)
        return jax.pure_callback(
            on_host, kinds, seed, observed.x, observed.y, weight, vmap_method="sequential"
        )

    def given(self, group: Group, fitted: Any, observed: Observed) -> Any:
        return fitted

    def predicted(
        self, group: Group, given: Any, x: Rows
    ) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        return _mean_and_deviation(sums(given, x))

    def sampled(
        self, key: PRNGKey, group: Group, given: Any, x: Rows, count: int
    ) -> Float[Array, "count n"]:
        return _drawn(key, sums(given, x), count)


SURROGATES: dict[str, type[Surrogate]] = {
    "gp": GaussianProcess,
    "ensemble": Perceptrons,
    "trees": BoostedTrees,
}
