"""How numbers are held where a network runs: what becomes of its weights and its tensors."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Weights

Range = Float[Array, "*n 2"]  # least and most


@runtime_checkable
class Numerics(Protocol):
    """Pure functions; the network's norms are folded into its weights."""

    @property
    def name(self) -> str: ...

    @property
    def exact(self) -> bool:
        """Whether nothing is changed: networks are then evaluated as they were trained."""
        ...

    def weights(self, op: Op, arrays: Weights) -> Weights:
        """An operator's arrays as they are held."""
        ...

    def tensor(self, x: Float[Array, "..."], limits: Range) -> Float[Array, "..."]:
        """A tensor as it is held, given the range that it had on the calibration images."""
        ...

    def fuses(self, act: str) -> bool:
        """Whether an activation is part of its operator, so that what is before it is not held."""
        ...

    def keeps(self, kind: str) -> bool:
        """Whether operators of this kind hold their result as what they read is held."""
        ...
