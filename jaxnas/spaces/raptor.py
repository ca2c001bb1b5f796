"""The one-shot space on the backbone that progressive scaling found.

Castagnetti et al., section on the search.

Widths stay as found; every block has a kernel and an expand ratio of its own, every row that
repeats a depth.
"""

from collections.abc import Sequence
from dataclasses import replace

from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.mobilenet_v2 import (
    PUBLISHED,
    RAPTOR_WIDTHS,
    ROWS,
    SMALL,
    rows,
    scaled_widths,
    small_sizes,
    small_stride,
)
from jaxnas.spaces.space import Space

DEPTHS = (2, 3, 4)
KERNELS = (3, 5)
EXPANDS = (3, 4, 6)


def raptor(channels: int = 3, classes: int = 1000) -> Space:
    """As published: 128 to 224 pixels."""
    return mobilenet_space("raptor", _net((128, 160, 192, 224), 2, PUBLISHED, channels, classes))


def raptor_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """The same with strides for 32 pixels, or 64."""
    return mobilenet_space(
        "raptor_cifar",
        _net(small_sizes(image_size), small_stride(image_size), SMALL, channels, classes),
    )


def _net(
    sizes: tuple[int, ...], first_stride: int, strides: Sequence[int], channels: int, classes: int
) -> MobileNet:
    first, *widths, last = scaled_widths([(multiplier,) for multiplier in RAPTOR_WIDTHS])
    stages = tuple(
        _elastic(stage, blocks)
        for stage, (_, _, blocks, _) in zip(rows(widths, strides), ROWS, strict=True)
    )
    return MobileNet(
        sizes,
        first,
        first_stride,
        stages,
        last,
        channels,
        classes,
        "relu6",
        "identity",
        per_block=True,
        head="v2",
    )


def _elastic(stage: Stage, blocks: int) -> Stage:
    """The row without an expansion gets none."""
    if stage.expands == (1,):
        return replace(stage, kernels=KERNELS)
    return replace(stage, depths=DEPTHS if blocks > 1 else (1,), kernels=KERNELS, expands=EXPANDS)
