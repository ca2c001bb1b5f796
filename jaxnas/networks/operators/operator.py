"""What a kind of operator is: costs, computation, fresh weights, and its share of a supernet's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import windowed
from jaxnas.types import PRNGKey, Size

Weights = dict[str, Any]  # arrays of one operator by name, JAX's or NumPy's


@runtime_checkable
class Elastic(Protocol):
    """An operator's sizes under a traced genome, hard or soft; see `supernets.interpreter`."""

    def live(self, name: str, largest: int) -> Float[Array, "largest"] | None:
        """Weight of each channel below the size `name`, 0 beyond it; None where no size varies."""
        ...

    def taps(self, largest: int) -> Float[Array, "largest largest"] | None:
        """Weight of each tap of the kernel; None where no size varies."""
        ...

    def weights(self, *names: str) -> tuple[list[tuple[int, ...]], Float[Array, "variants"]]:
        """The different sizes that occur together, and the weight of each."""
        ...

    def places(self) -> list[tuple[list[int], Float[Array, "variants"]]]:
        """Of each input the different sums of the widths before it, and the weight of each."""
        ...


def one_pixel(size: Size, op: Op) -> Size:
    """Of what reads all pixels at once."""
    return size * 0 + 1


def windowed_side(size: Size, op: Op) -> Size:
    """Of what reads windows of pixels."""
    return windowed(size, op.reach, op.stride, op.padding)


def no_weights(key: PRNGKey, op: Op) -> Weights:
    """Of an operator without any."""
    return {}


def nothing(op: Op) -> Size:
    """Of an operator without multiply-adds or weights."""
    return 0


def none_to_share(arrays: Weights, op: Op) -> Weights:
    """Of an operator without weights: bias and norm are shared out by the width."""
    return {}


def unmasked(op: Op, arrays: Weights, sizes: Elastic) -> tuple[Op, Weights]:
    """Of an operator whose result is 0 in the channels in which its inputs are."""
    return op, arrays


@dataclass(frozen=True)
class Operator:
    """A kind of operator. Sizes of `op` are ints, or arrays in `macs` and `params`.

    A new kind is an instance of this in `OPERATORS` and a function in `export.emitters.EMITTERS`.
    Bias, norm and activation are no business of it.
    """

    compute: Callable[..., Array]
    """(op, arrays, *inputs) -> result; NHWC."""
    side: Callable[[Size, Op], Size] = windowed_side
    """(pixels of the first input's side, op) -> those of the result's."""
    channelwise: bool = False
    """Whether each channel of the result is made of the same channel of the inputs."""
    macs: Callable[[Op], Size] = nothing
    """Multiply-adds, counted once; what has none by the papers' custom counts 0."""
    params: Callable[[Op], Size] = nothing
    """Weights, without those of bias and norm."""
    fresh: Callable[[PRNGKey, Op], Weights] = no_weights
    """Weights to start a training from."""
    share: Callable[[Weights, Op], Weights] = none_to_share
    """(arrays of the largest operator, op) -> those of `op`; NumPy or JAX, differentiable."""
    elastic: Callable[[Op, Weights, Elastic], tuple[Op, Weights]] = unmasked
    """(largest operator, its arrays, sizes) -> an operator and arrays that compute those sizes.

    Channels beyond the active ones are 0 in its result, unless a norm follows.
    """
