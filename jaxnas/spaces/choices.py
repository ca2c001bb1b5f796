"""What the choices of a structure may be."""

from typing import Any

from jaxnas.errors import UserError

LARGEST = {  # of each choice: what a network can be built and computed with
    "widths": 2**16,
    "depths": 100,
    "kernels": 31,
    "expands": 64,
    "squeezes": 2**16,
    "expands_1x1": 2**16,
    "expands_3x3": 2**16,
    "resolutions": 2**13,
    "first_widths": 2**16,
    "last_widths": 2**16,
}
ACTIVATIONS = ("relu", "relu6", "swish", "hard_swish")


def check_around_stages(net: Any) -> None:
    """Refuses a structure whose stem, last layers or images can be none, or that has no stage."""
    last = ["last_widths"] * bool(getattr(net, "last_widths", ()))
    for name in ("resolutions", "first_widths", *last):
        check_choices(name, getattr(net, name), 8 if name == "first_widths" else 1)
    check_stride("first_stride", net.first_stride)
    for name in ("channels", "classes"):
        if getattr(net, name) < 1:
            raise UserError(f"{name} must be at least 1, got {getattr(net, name)}")
    among("activation", net.activation, ACTIVATIONS)
    if not net.stages:
        raise UserError("a network needs at least one stage, got none")


def among(what: str, found: str, known: tuple[str, ...]) -> None:
    """Refuses an unknown name."""
    if found not in known:
        raise UserError(f"{what} must be one of {', '.join(known)}, got {found!r}")


def check_choices(what: str, choices: tuple[int, ...], divisor: int) -> None:
    """Refuses choices that are none, unsorted, too large, or no multiples of `divisor`."""
    if not choices or list(choices) != sorted(set(choices)) or choices[0] < 1:
        raise UserError(
            f"{what} must be different numbers from 1 on, smallest first, got {choices}"
        )
    most = LARGEST[what.split()[-1]]
    if choices[-1] > most:
        raise UserError(f"{what} must be at most {most}, got {choices[-1]}")
    if any(choice % divisor for choice in choices):
        raise UserError(f"{what} must be multiples of {divisor}, got {choices}")


def check_switch(what: str, choices: tuple[int, ...]) -> None:
    """Refuses choices other than without (0), with (1), and both."""
    if choices not in ((0,), (1,), (0, 1)):
        raise UserError(f"{what} must be (0,), without, (1,), with, or (0, 1), got {choices}")


def check_stride(what: str, stride: int) -> None:
    """Refuses a stride other than 1 and 2."""
    if stride not in (1, 2):
        raise UserError(f"{what} must be 1 or 2, got {stride}")
