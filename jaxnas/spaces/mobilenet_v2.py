"""MobileNetV2 (Sandler et al., 2018, table 2) with a width multiplier for every row.

What progressive scaling chooses from.

Castagnetti et al. ("Neural architecture search under hardware constraints for a memory-constrained
embedded accelerator") choose each row's multiplier by itself, for a chip on which wide maps are
dear; their table 2 is `RAPTOR_WIDTHS`.
"""

from collections.abc import Sequence

from jaxnas.errors import UserError
from jaxnas.networks.sizes import make_divisible
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.space import Space

FIRST = 32
LAST = 1280
ROWS = (  # expand, width, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
PUBLISHED = tuple(stride for *_, stride in ROWS)
# At 32 pixels, without the stem's stride, the first five rows see 0.4 of a map's side at 160.
SMALL = (1, 2, 2, 2, 1, 1, 1)

GRID = (0.3, 0.6, 0.9, 1.0, 1.2, 1.5)
RAPTOR_WIDTHS = (0.3, 0.3, 0.3, 0.3, 1.5, 1.0, 0.9, 0.6, 0.6)


def mobilenet_v2(
    channels: int = 3, classes: int = 1000, multipliers: Sequence[Sequence[float]] = (GRID,) * 9
) -> Space:
    """At 96 to 224 pixels.

    `multipliers` of the stem, the seven rows and the last convolution, several choices each.
    """
    return mobilenet_space(
        "mobilenet_v2", _net((96, 128, 160, 192, 224), 2, PUBLISHED, channels, classes, multipliers)
    )


def mobilenet_v2_cifar(
    image_size: int = 32,
    channels: int = 3,
    classes: int = 10,
    multipliers: Sequence[Sequence[float]] = (GRID,) * 9,
) -> Space:
    """The same with strides for 32 pixels, or 64; 3/4, 7/8 and the whole of the images' size."""
    net = _net(
        small_sizes(image_size), small_stride(image_size), SMALL, channels, classes, multipliers
    )
    return mobilenet_space("mobilenet_v2_cifar", net)


def _net(
    sizes: tuple[int, ...],
    first_stride: int,
    strides: Sequence[int],
    channels: int,
    classes: int,
    multipliers: Sequence[Sequence[float]],
) -> MobileNet:
    first, *widths, last = scaled_widths(multipliers)
    return MobileNet(
        sizes,
        first,
        first_stride,
        rows(widths, strides),
        last,
        channels,
        classes,
        "relu6",
        "identity",
        head="v2",
    )


def uniform(multiplier: float) -> tuple[tuple[float], ...]:
    """One network, scaled as published.

    The last convolution only where the multiplier is above 1.
    """
    if not 0.1 <= multiplier <= 4:
        raise UserError(f"a width multiplier must be between 0.1 and 4, got {multiplier}")
    return (*((multiplier,) for _ in range(1 + len(ROWS))), (max(1.0, multiplier),))


def scaled_widths(multipliers: Sequence[Sequence[float]]) -> list[tuple[int, ...]]:
    """Channels of the stem, the rows and the last convolution, different ones.

    Multiples of 8, never below 90 % of the product.
    """
    published = (FIRST, *(width for _, width, _, _ in ROWS), LAST)
    return [
        tuple(sorted({int(make_divisible(width * m)) for m in some}))
        for width, some in zip(published, multipliers, strict=True)
    ]


def rows(widths: Sequence[tuple[int, ...]], strides: Sequence[int]) -> tuple[Stage, ...]:
    """The seven rows, nothing elastic but their widths."""
    return tuple(
        Stage(some, (blocks,), (3,), (expand,), stride, activation="relu6")
        for (expand, _, blocks, _), some, stride in zip(ROWS, widths, strides, strict=True)
    )


def small_sizes(image_size: int) -> tuple[int, ...]:
    """
    >>> small_sizes(32)
    (24, 28, 32)
    """
    return tuple(image_size * eighths // 8 for eighths in (6, 7, 8))


def small_stride(image_size: int) -> int:
    """Of the stem: larger images begin with half as many pixels."""
    return 1 if image_size < 48 else 2
