"""What a predictor is.

It learns a figure of networks, a device's latency for one, from measurements; with intervals, it
says how far off it may be.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey, SoftGenome

Choices = Int[Array | np.ndarray, "n genes"]
Latencies = Float[Array | np.ndarray, "n"]
Marks = Bool[np.ndarray, "n"]
Arrays = Mapping[str, Array | np.ndarray]  # of a model, by name


class Prediction(NamedTuple):
    """Latencies in ms.

    And the interval that a fresh measurement of each network is to fall into.
    """

    mean_ms: Latencies
    low_ms: Latencies
    high_ms: Latencies


@runtime_checkable
class Model(Protocol):
    """What a predictor has learnt: a pytree of arrays, an argument of a compiled search."""

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        """Latencies in ms, always positive; traceable."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Finite numbers, of which `Predictor.from_arrays` makes the model again."""
        ...


@runtime_checkable
class IntervalModel(Model, Protocol):
    """A model that has calibrated intervals of its own."""

    def predict(self, genomes: Choices) -> Prediction: ...


@runtime_checkable
class SoftModel(Model, Protocol):
    """A model that predicts soft genomes, with a gradient in them."""

    def expected(self, genome: SoftGenome) -> Float[Array, ""]:
        """Latency in ms at the mean of what the model sees (`spaces.soft`); traceable.

        Of a one-hot genome that of its genome. Raises a `UserError` where the model sees of a
        genome what has no such mean.
        """
        ...


@runtime_checkable
class Predictor(Protocol):
    """Learns from measured networks; a frozen dataclass is its own configuration.

    `mlp.EarlyStoppedMLP`, `ensemble.Ensemble` and `single.Single` of any method.
    """

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        validation: Marks | None = None,
    ) -> Model:
        """Learn from all networks but those marked for validation.

        The marked ones may choose when training stops. A predictor that needs none of them may
        learn from them too. Raises a `UserError` where it cannot learn from these.
        """
        ...

    def from_arrays(self, space: Space, arrays: Arrays) -> Model:
        """The model that was saved as `Model.arrays`.

        Raises a `ValueError` where arrays are missing or do not fit (`checked`).
        """
        ...


@runtime_checkable
class Members(Protocol):
    """Several models of one method."""

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        """What each says in ms, always positive."""
        ...

    def arrays(self) -> dict[str, Array]:
        """As `Model.arrays`."""
        ...


@runtime_checkable
class SoftMembers(Members, Protocol):
    """Models of one method that predict soft genomes."""

    def expected(self, genome: SoftGenome) -> Float[Array, "k"]:
        """As `SoftModel.expected`, of each."""
        ...


def soft_members(members: Members) -> SoftMembers:
    """The members; a `UserError` where their method has no gradient."""
    if isinstance(members, SoftMembers):
        return members
    raise UserError(
        f"a predictor of {type(members).__name__} has no gradient by which a soft genome could be "
        "searched: fit one that has, with predict.method mlp, ensemble or lookup"
    )


@runtime_checkable
class Method(Protocol):
    """A way to learn latencies, without intervals.

    `mlp.MLP`, `lookup.Lookup`, `trees.Trees`, `transfer.Transfer`; `network.Network`, which learns
    figures of any kind.
    """

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
        /,
    ) -> Members:
        """One model for each row of `used`, from the networks that it marks.

        Of the others it learns nothing.
        """
        ...

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> Members:
        """The members that were saved as `Members.arrays`, of which there are `count`.

        Errors as of `Predictor.from_arrays`.
        """
        ...


def trained_on(latency_ms: Latencies, validation: Marks | None) -> Marks:
    """The networks that are not marked for validation."""
    return np.ones(len(latency_ms), bool) if validation is None else ~validation


def checked(
    space: Space, arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    """The arrays of these names and shapes, as float32.

    Raises:
        ValueError: one is missing, has another shape, or holds a number that is not finite; or
            there are others.
    """
    other = f"of another space than {space.name}, or another predictor"
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"no array {name}: of another predict.method")
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape}: {other}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if others := sorted(arrays.keys() - shapes.keys()):
        raise ValueError(f"array {others[0]} besides: {other}")
    return {name: jnp.asarray(arrays[name], jnp.float32) for name in shapes}


def check_genomes(space: Space, genomes: Choices) -> None:
    """Refuses genomes of another space than a predictor was fitted to, as far as they show it.

    By their number of genes, and those of NumPy by their choices (-1 marks what is no candidate).
    """
    shape = np.shape(genomes)
    if len(shape) != 2 or shape[1] != len(space.genes):
        raise UserError(
            f"a predictor fitted to {space.name} sees genomes of {len(space.genes)} genes, got an "
            f"array of shape {shape}: fit a predictor to their space"
        )
    if isinstance(genomes, np.ndarray) and ((genomes < -1) | (genomes >= space.sizes)).any():
        raise UserError(
            f"a predictor fitted to {space.name} sees choices below {space.sizes.tolist()}, got "
            "others: fit a predictor to the genomes' space"
        )


def check_training(
    space: Space, genomes: Choices, latency_ms: Latencies, used: Bool[np.ndarray, "k n"]
) -> None:
    """Refuses, in one line each, what no latency can be learnt from.

    What `check_genomes`, `check_latencies` and `check_count` name; a row of `used` without a
    network, and fewer than two in all; and latencies that are all alike.
    """
    check_genomes(space, genomes)
    check_latencies("training", latency_ms)
    check_count(genomes, latency_ms)
    seen = np.asarray(latency_ms)[used.any(axis=0)]
    if len(seen) < 2 or not used.any(axis=1).all():
        raise UserError(
            f"the latency predictor learns from 2 networks or more, got {len(seen)}: measure more, "
            "or mark fewer for validation"
        )
    if seen.min() == seen.max():
        raise UserError(
            f"the latencies of the {len(seen)} networks to learn from are all {seen[0]:g} ms: "
            "there is nothing to learn, measure networks that differ"
        )


def check_count(genomes: Choices, targets: Num[Array | np.ndarray, "m ..."]) -> None:
    """Refuses targets of more or fewer networks than there are genomes."""
    if len(genomes) != len(targets):
        raise UserError(
            f"expected targets of each of {len(genomes)} networks, got {len(targets)}: leave "
            "networks without a measurement out"
        )


def check_latencies(split: str, latency_ms: Latencies) -> None:
    """Refuses latencies that are no measurements; `split` names them in the message."""
    latency_ms = np.asarray(latency_ms)
    wrong = ~(np.isfinite(latency_ms) & (latency_ms > 0))
    if wrong.any():
        bad = latency_ms[wrong]
        raise UserError(
            f"{split} latencies must be finite and above 0 ms, got {bad[0]} ({bad.size} such): "
            "leave failed measurements out"
        )
    if latency_ms.size == 0:
        raise UserError(f"the latency predictor needs {split} measurements, got none")
