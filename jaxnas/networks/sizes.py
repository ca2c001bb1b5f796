"""Sizes of maps and widths; for ints, arrays and traced integers alike."""

PADDINGS = ("same", "valid", "ceil")


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


def windowed(size, kernel, stride: int, padding: str):
    """Pixels of a map's side after windows of `kernel` pixels; for paddings see `networks.op.Op`.

    >>> [windowed(14, 3, 2, padding) for padding in PADDINGS]
    [7, 6, 7]
    """
    match padding:
        case "valid":
            return (size - kernel) // stride + 1
        case "ceil":
            return strided(size - kernel, stride) + 1
    return strided(size, stride)


def squeezed(middle):
    """Width of squeeze-excite's bottleneck, for a middle width of the block."""
    return make_divisible(middle // 4)
