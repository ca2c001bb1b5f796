"""Perceptrons as a predictor: the mean of several, and one for each member of an ensemble."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnas.predictors.perceptron import (
    LatencyMLP,
    Scales,
    predict,
    shapes,
    trained,
    trained_members,
)
from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    Marks,
    check_genomes,
    check_latencies,
    check_training,
    checked,
    trained_on,
)
from jaxnas.spaces.encodings import (
    FeatureFunction,
    Features,
    columns,
    gene_features,
    standardisation,
)
from jaxnas.spaces.soft import expected_features
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey, SoftGenome

# Perceptrons that `fit` trains: the luck of one's initial weights moves Kendall's tau by 0.01.
MEMBERS = 8
# Networks to train on are padded to a multiple of this: growing sets share a few compiled programs.
PAD = 64


def fit(
    key: PRNGKey,
    features_train: Features,
    latency_ms_train: Float[Array | np.ndarray, "n"],
    features_validation: Float[Array, "m genes"],
    latency_ms_validation: Float[Array | np.ndarray, "m"],
    steps: int = 2000,
    learning_rate: float = 0.01,
    weight_decay: float = 2.0,
) -> LatencyMLP:
    """Train on all points at once with AdamW and a cosine schedule.

    Several perceptrons side by side.

    Of each the step with the best validation loss is kept.
    The loss is the squared error of log latency, so that relative errors count alike for small and
    large networks. A few hundred points want a weight decay of 1 to 4 (it is multiplied by the
    learning rate; biases are left alone): at 0.01 the perceptron learns the points by heart. Raises
    a `UserError` on a latency that is not finite and above 0.
    """
    check_latencies("training", latency_ms_train)
    check_latencies("validation", latency_ms_validation)
    input_mean, input_deviation = standardisation(features_train)
    target, validation = (
        jnp.log(jnp.asarray(some, jnp.float32))
        for some in (latency_ms_train, latency_ms_validation)
    )
    spread = target.std()
    scales = Scales(input_mean, input_deviation, target.mean(), jnp.where(spread > 0, spread, 1.0))
    points = (
        (features_train, target, jnp.ones_like(target)),
        (features_validation, validation, jnp.ones_like(validation)),
    )
    rates = jnp.float32(learning_rate), jnp.float32(weight_decay)
    return LatencyMLP(
        **jax.vmap(lambda key: trained(key, scales, *points, steps, *rates))(
            jax.random.split(key, MEMBERS)
        ),
        **scales._asdict(),
    )


@dataclass(frozen=True)
class EarlyStoppedMLP:
    """The mean of eight perceptrons of gene values (`predictor.Predictor`).

    Each is stopped where it predicts the validation networks best. `fit` says what the numbers
    mean.
    """

    steps: int = 2000
    learning_rate: float = 0.01
    weight_decay: float = 2.0

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        validation: Marks | None = None,
    ) -> "Fitted":
        """Raises a `UserError` where no networks are marked for validation."""
        train = trained_on(latency_ms, validation)
        check_training(space, genomes, latency_ms, train[None])
        perceptrons = fit(
            key,
            gene_features(space, jnp.asarray(genomes[train])),
            latency_ms[train],
            gene_features(space, jnp.asarray(genomes[~train])),
            latency_ms[~train],
            self.steps,
            self.learning_rate,
            self.weight_decay,
        )
        return Fitted(space, perceptrons)

    def from_arrays(self, space: Space, arrays: Arrays) -> "Fitted":
        expected = shapes(columns(space, gene_features), MEMBERS)
        return Fitted(space, LatencyMLP(**checked(space, arrays, expected)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fitted:
    """The mean of the perceptrons as a function of genomes (`predictor.Model`)."""

    space: Space = field(metadata={"static": True})
    perceptrons: LatencyMLP

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        check_genomes(self.space, genomes)
        return predict(self.perceptrons, gene_features(self.space, jnp.asarray(genomes)))

    def expected(self, genome: SoftGenome) -> Float[Array, ""]:
        return predict(
            self.perceptrons, expected_features(gene_features, self.space, genome)[None]
        )[0]

    def arrays(self) -> dict[str, Array]:
        return self.perceptrons._asdict()


@dataclass(frozen=True)
class MLP:
    """The perceptron as a method (`predictor.Method`): trained on all networks used, for all steps.

    `fit` says what the numbers mean.

    A member of an ensemble wants fewer steps than a perceptron on its own: the mean is as good, and
    members agree more.
    """

    features: FeatureFunction = gene_features
    steps: int = 500
    learning_rate: float = 0.01
    weight_decay: float = 2.0

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> "Perceptrons":
        """All models train side by side in one program."""
        check_training(space, genomes, latency_ms, used)
        padding = -len(latency_ms) % PAD
        features = jnp.pad(self.features(space, genomes), ((0, padding), (0, 0)))
        target = jnp.pad(jnp.log(jnp.asarray(latency_ms, jnp.float32)), (0, padding))
        weight = jnp.pad(jnp.asarray(used, jnp.float32), ((0, 0), (0, padding)))
        keys = jax.random.split(key, len(used))
        rates = jnp.float32(self.learning_rate), jnp.float32(self.weight_decay)
        return Perceptrons(
            space,
            self.features,
            trained_members(keys, features, target, weight, self.steps, *rates),
        )

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> "Perceptrons":
        one = shapes(columns(space, self.features), 1)
        expected = {name: (count, *shape) for name, shape in one.items()}
        return Perceptrons(space, self.features, LatencyMLP(**checked(space, arrays, expected)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Perceptrons:
    """Perceptrons of one shape, side by side.

    A pytree, to be passed to a compiled search as an argument.
    """

    space: Space = field(metadata={"static": True})
    features: FeatureFunction = field(metadata={"static": True})
    stacked: LatencyMLP  # every array with a leading axis, the members

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        check_genomes(self.space, genomes)
        return self._predicted(genomes)

    @jax.jit
    def _predicted(self, genomes: Choices) -> Float[Array, "k n"]:
        return jax.vmap(predict, (0, None))(self.stacked, self.features(self.space, genomes))

    def expected(self, genome: SoftGenome) -> Float[Array, "k"]:
        features = expected_features(self.features, self.space, genome)
        return jax.vmap(predict, (0, None))(self.stacked, features[None])[:, 0]

    def arrays(self) -> dict[str, Array]:
        return self.stacked._asdict()
