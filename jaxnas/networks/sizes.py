"""Sizes of maps and widths; for ints, arrays and traced integers alike."""


def make_divisible(value, divisor: int = 8):
    """The nearest multiple of `divisor`, never below 90 % of the value.

    >>> make_divisible(30), make_divisible(11)
    (32, 16)
    """
    rounded = (value + divisor // 2) // divisor * divisor
    rounded = rounded + divisor * (rounded < divisor)
    return rounded + divisor * (10 * rounded < 9 * value)


def strided(size, stride: int):
    """Pixels of a map's side after a convolution of this stride.

    >>> strided(7, 2)
    4
    """
    return -(-size // stride)


def to_one(size, stride: int = 1):
    """The side of what averages or reads all pixels at once.

    >>> to_one(7)
    1
    """
    return size * 0 + 1


def squeezed(middle):
    """Width of squeeze-excite's bottleneck, for a middle width of the block."""
    return make_divisible(middle // 4)
