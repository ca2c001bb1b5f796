"""How many networks and images go through a device side by side.

So that their activations fit into its memory.
"""

from collections.abc import Sequence

import jax

from jaxnas.data.memory import GIB
from jaxnas.errors import UserError
from jaxnas.networks.costs import peak_of
from jaxnas.networks.op import Op
from jaxnas.supernets.supernet import Supernet

# Images at a time on a CPU: small enough for its caches, large enough to keep its cores busy.
MICRO_BATCH = 64
LARGE_BATCH = 256  # elsewhere, of each of the subnets side by side
CROWD = 16  # subnets side by side at most
SHARE = 0.5  # of a device's memory that activations may take
UNKNOWN_GIB = 4.0  # what they may take where a device does not tell its memory, as a CPU
COPIES = 2  # of a convolution's result while it is normalised and activated
BYTES = 4  # of an activation


def budget(memory_gib: float | None = None) -> int:
    """Bytes that activations may take: as many as are asked for, else half of the device's."""
    if memory_gib is not None:
        return int(memory_gib * GIB)
    total = device_bytes()
    return int(UNKNOWN_GIB * GIB) if total is None else int(SHARE * total)


def device_bytes() -> int | None:
    """The memory of the first device that JAX may take.

    None where the device does not tell, as a CPU.
    """
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def image_bytes(ops: Sequence[Op], resolution: int) -> int:
    """What the activations of one image take in a network, where it is only evaluated."""
    return COPIES * BYTES * peak_of(ops, resolution, resolution)


def training_bytes(ops: Sequence[Op]) -> int:
    """What they take where the gradient needs them.

    All operators' results, before the norm and behind the activation.
    """
    return COPIES * BYTES * sum(op.height * op.width * op.c_out for op in ops)


def largest_ops(net: Supernet, resolution: int) -> tuple[Op, ...]:
    """The largest network at a resolution: masked, every other one takes as much."""
    space = net.space
    return net.ops(space.at_resolution(space.largest, space.resolution_choice(resolution)))


def crowd(each: int, memory_gib: float | None = None) -> int:
    """How many subnets go side by side, of which each takes so many bytes.

    On a CPU they take turns.

    Raises:
        UserError: the device has less memory than one of them takes.
    """
    total = device_bytes()
    if total is not None and each > total:
        raise UserError(
            f"one network's activations take {each / GIB:.3g} GiB, the device has "
            f"{total / GIB:.3g}: lower data.calibration_images or the batch size, or choose a "
            "space of smaller images"
        )
    if jax.default_backend() == "cpu":
        return 1
    return max(1, min(CROWD, budget(memory_gib) // each))


def batch(each: int, together: int = 1, memory_gib: float | None = None) -> int:
    """How many images go through each of the subnets side by side.

    One of them takes so many bytes a network.
    """
    most = MICRO_BATCH if jax.default_backend() == "cpu" else LARGE_BATCH
    return max(1, min(most, budget(memory_gib) // (together * each)))
