"""One network for several figures, a head each: latencies of many devices, objectives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.predictors.network import Fitted, Network
from jaxnas.predictors.predictor import Choices, Latencies, check_count
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey


def fit(
    network: Network,
    key: PRNGKey,
    space: Space,
    genomes: Choices,
    targets: Mapping[str, Latencies],
    members: int = 1,
) -> "Heads":
    """Learns each figure of the same genomes, by its name; the encoder serves all of them.

    With several members, each has weights of its own. Refused is what `targets.check_targets`
    names.
    """
    if not targets:
        raise UserError("a network with heads needs a figure or more to learn, got none")
    for column in targets.values():
        check_count(genomes, column)
    columns = np.stack([np.asarray(column) for column in targets.values()], axis=1)
    used = np.ones((members, len(columns)), bool)
    return Heads(tuple(targets), network.fitted(key, space, genomes, columns, used))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Heads:
    """A network of several figures; a pytree."""

    names: tuple[str, ...] = field(metadata={"static": True})
    fitted: Fitted

    def head(self, name: str) -> "Head":
        """The figure of this name. `transfer.learn` takes such heads for known devices."""
        if name not in self.names:
            raise UserError(f"no head {name!r}; this network has {', '.join(self.names)}")
        return Head(self.names.index(name), self.fitted)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Head:
    """One of them, a function of genomes; a pytree, an argument of a compiled search."""

    column: int = field(metadata={"static": True})
    fitted: Fitted

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        """The members' mean, of positive figures the geometric one; traceable."""
        members = self.fitted.outputs(genomes)[..., self.column]
        if self.fitted.network.loss == "rmse" and self.fitted.network.positive:
            return jnp.exp(jnp.log(members).mean(axis=0))
        return members.mean(axis=0)
