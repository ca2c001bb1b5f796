"""The elastic inverted-residual family: AttentiveNAS's block structure and its encoding of 31 genes.

Genome: resolution, 9 widths (first_conv, mb1..mb7, last_conv), 7 depths, 7 kernels, 7 expands, in this order (Wang et al.,
"AttentiveNAS", CVPR 2021). One width, depth, kernel and expand ratio per stage, shared by its blocks.
"""

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp

from jaxnas.spaces.space import Gene, Space
from jaxnas.types import Genome, Size
from jaxnas.workload import CONV, LINEAR, Layers

HEAD_EXPAND = 6  # the head's first 1x1 convolution widens mb7 by this much


@dataclass(frozen=True)
class Stage:
    """Blocks that share their genes; choices are sorted, and `expands` is (1,), no expansion layer, or all above 1."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    stride: int
    squeeze_excite: bool


@dataclass(frozen=True)
class MobileNet:
    """What a supernet of this family is built from. The stem is a 3x3 convolution, the head AttentiveNAS's V3 head."""

    resolutions: tuple[int, ...]
    first_widths: tuple[int, ...]
    first_stride: int
    stages: tuple[Stage, ...]
    last_widths: tuple[int, ...]
    channels: int
    classes: int


def tiny(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 0.3 to 3 MMACs at 32 pixels; one resolution, the images' own."""
    stages = (
        Stage((8, 16), (1,), (3, 5), (1,), 1, False),
        Stage((8, 16), (1, 2), (3, 5), (2, 3), 2, False),
        Stage((16, 24), (1, 2), (3, 5), (2, 3, 4), 1, True),
        Stage((16, 24, 32), (1, 2, 3), (3, 5), (2, 3, 4), 2, False),
        Stage((16, 24, 32), (1, 2, 3), (3, 5), (2, 3, 4), 1, True),
        Stage((24, 32), (1, 2, 3), (3, 5), (3,), 1, True),
        Stage((24, 32), (1,), (3, 5), (3,), 1, True),
    )
    return mobilenet_space("tiny", MobileNet((image_size,), (8, 16), 2, stages, (64, 96), channels, classes))


def cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 6 to 70 MMACs at 32 pixels; two resolutions, three quarters of the images' own and the whole."""
    stages = (
        Stage((16, 24), (1, 2), (3, 5), (1,), 1, False),
        Stage((16, 24), (1, 2, 3), (3, 5), (3, 4, 5), 2, False),
        Stage((24, 32), (2, 3, 4), (3, 5), (3, 4, 5), 1, True),
        Stage((40, 48), (2, 3, 4), (3, 5), (3, 4, 5), 2, False),
        Stage((56, 64, 72), (2, 3, 4), (3, 5), (3, 4, 5), 1, True),
        Stage((80, 88, 96, 104), (2, 3, 4), (3, 5), (6,), 2, True),
        Stage((104, 112), (1, 2), (3, 5), (6,), 1, True),
    )
    return mobilenet_space("cifar", MobileNet((3 * image_size // 4, image_size), (16, 24), 1, stages, (448, 512), channels, classes))


def mobilenet_space(name: str, net: MobileNet) -> Space:
    """The 31-gene space of a structure."""
    stages = [(f"mb{i}", stage) for i, stage in enumerate(net.stages, 1)]
    genes = (
        Gene("resolution", net.resolutions, static=True),
        Gene("first_conv_width", net.first_widths),
        *(Gene(f"{mb}_width", stage.widths) for mb, stage in stages),
        Gene("last_conv_width", net.last_widths),
        *(Gene(f"{mb}_depth", stage.depths) for mb, stage in stages),
        *(Gene(f"{mb}_kernel", stage.kernels) for mb, stage in stages),
        *(Gene(f"{mb}_expand", stage.expands) for mb, stage in stages),
    )
    return Space(name, genes, canonical=lambda genome: genome, layers=partial(_layers, net, genes), structure=net)


def make_divisible(value, divisor: int = 8):
    """The nearest multiple of `divisor`, never below 90 % of the value; for ints and traced integers alike.

    >>> make_divisible(30), make_divisible(11)
    (32, 16)
    """
    rounded = (value + divisor // 2) // divisor * divisor
    rounded = rounded + divisor * (rounded < divisor)
    return rounded + divisor * (10 * rounded < 9 * value)


def squeezed(middle):
    """Width of squeeze-excite's bottleneck, for a middle width of the block."""
    return make_divisible(middle // 4)


def split_genes(net: MobileNet, values):
    """The chosen values as (resolution, first width, stage widths, last width, depths, kernels, expands)."""
    n = len(net.stages)
    resolution, first, widths, last = values[0], values[1], values[2 : n + 2], values[n + 2]
    depths, kernels, expands = (values[n + 3 + i * n : n + 3 + (i + 1) * n] for i in range(3))
    return resolution, first, widths, last, depths, kernels, expands


def _layers(net: MobileNet, genes: tuple[Gene, ...], genome: Genome) -> Layers:
    """The cost table of one genome: every layer of the largest network, skipped ones with repeat 0."""
    values = [jnp.asarray(gene.choices, jnp.int32)[genome[i]] for i, gene in enumerate(genes)]
    size, width, widths, last, depths, kernels, expands = split_genes(net, values)
    rows = []

    def add(kind, size, c_in, c_out, kernel: Size = 1, stride=1, groups: Size = 1, extras=2, repeat: Size = 1):
        rows.append((kind, size, size, c_in, c_out, kernel, stride, groups, extras, repeat))

    size = _strided(size, net.first_stride)
    add(CONV, size, net.channels, width, 3, net.first_stride)
    for stage, c_out, depth, kernel, expand in zip(net.stages, widths, depths, kernels, expands, strict=True):
        for block in range(stage.depths[-1]):
            c_in, stride, on = (width, stage.stride, 1) if block == 0 else (c_out, 1, jnp.int32(block < depth))
            middle = make_divisible(c_in * expand)
            if stage.expands != (1,):
                add(CONV, size, c_in, middle, repeat=on)
            size = _strided(size, stride)
            add(CONV, size, middle, middle, kernel, stride, groups=middle, repeat=on)
            if stage.squeeze_excite:
                add(CONV, 1, middle, squeezed(middle), extras=1, repeat=on)
                add(CONV, 1, squeezed(middle), middle, extras=1, repeat=on)
            add(CONV, size, middle, c_out, repeat=on)
            if block == 0:
                add(CONV, size, c_in, c_out, extras=0, repeat=jnp.int32(c_in != c_out))
        width = c_out
    add(CONV, size, width, HEAD_EXPAND * width)
    add(CONV, 1, HEAD_EXPAND * width, last, extras=0)
    add(LINEAR, 1, last, net.classes, extras=1)
    return Layers(*(jnp.stack([jnp.asarray(x, jnp.int32) for x in column]) for column in zip(*rows, strict=True)))


def _strided(size, stride: int):
    return -(-size // stride)
