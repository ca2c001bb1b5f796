"""Numbers as the network was trained with."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Weights
from jaxnas.numerics.numerics import Range


@dataclass(frozen=True)
class Float32:
    """`Numerics` that change nothing."""

    name: str = "float32"
    exact: bool = True

    def weights(self, op: Op, arrays: Weights) -> Weights:
        """The arrays as they are."""
        return arrays

    def tensor(self, x: Float[Array, "..."], limits: Range) -> Float[Array, "..."]:
        """The tensor as it is."""
        return x

    def fuses(self, act: str) -> bool:
        """Nothing is rounded before an activation."""
        return True

    def keeps(self, kind: str) -> bool:
        """All is held alike."""
        return True
