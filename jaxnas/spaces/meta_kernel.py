"""Meta-kernels: depthwise convolutions whose size is learnt (E-DNAS, ICPR 2020, pages 4704-4711).

Convolutions of one input are additive: a mixture of sizes is one convolution, with the sum of their
kernels weighted by probability and filled up with zeros to the largest. Each size has a kernel of
its own beside what it shares with the larger ones, their centre (`Op.own`).

The equations of the paper are not public; this is a reading of its abstract.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.choices import check_choices, check_stride
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space
from jaxnas.types import Size

KERNELS = (3, 5, 7, 9, 11)


@dataclass(frozen=True)
class MetaKernels:
    """What a space of meta-kernels is built from.

    A 3x3 convolution of the first width, then a block for each further one: a depthwise convolution
    of one of `kernels` with the block's stride, and a 1x1 convolution to its width.
    """

    image_size: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    channels: int
    classes: int

    def __post_init__(self):
        check_choices("kernels", self.kernels, 1)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"kernels must be odd, got {self.kernels}: choose others")
        if not self.strides or len(self.widths) != 1 + len(self.strides):
            raise UserError(
                f"meta-kernels need a width of the stem and one of each block, got {self.widths} "
                f"and the strides {self.strides}: give each block both"
            )
        for stride in self.strides:
            check_stride("a block's stride", stride)

    def settings(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """As it is: there is one form."""
        return saved


def meta_kernel(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """625 networks of 1.9 to 5.7 MMACs at 32 pixels: kernels of 3 to 11 in four blocks."""
    net = MetaKernels(image_size, (16, 24, 32, 48, 64), (1, 2, 1, 2), KERNELS, channels, classes)
    return meta_kernel_space("meta_kernel", net)


def meta_kernel_space(name: str, net: MetaKernels) -> Space:
    """The space of a structure."""
    blocks = [f"block{i}" for i in range(1, 1 + len(net.strides))]
    genes = tuple(Gene(f"{block}_kernel", net.kernels, "kernel") for block in blocks)
    parts = [Part("stem", (), partial(_stem, net))]
    size = net.image_size
    for i, block in enumerate(blocks):
        parts.append(Part(block, (i,), partial(_block, net, block, i, size)))
        size = strided(size, net.strides[i])
    parts.append(Part("classifier", (), partial(_classifier, net, size)))
    return Space(name, genes, tuple(parts), net, partial(smallest, name, net))


def smallest(name: str, net: MetaKernels) -> Space:
    """Two blocks, narrow, of three sizes, on small images."""
    few = replace(
        net, image_size=12, widths=(8, 16, 24), strides=(1, 2), kernels=(3, 5, 7), classes=4
    )
    return meta_kernel_space(name, few)


def _stem(net: MetaKernels) -> tuple[Op, ...]:
    ops = PartBuilder(net.image_size, net.channels)
    ops.conv("stem", net.widths[0], act="relu", kernel=3)
    return ops.done()


def _block(net: MetaKernels, name: str, i: int, size: int, kernel: Size) -> tuple[Op, ...]:
    before, width = net.widths[i : i + 2]
    ops = PartBuilder(size, before)
    sizes = {"kernel": kernel, "stride": net.strides[i], "groups": before}
    ops.conv(f"{name}/depthwise", before, act="relu", own=net.kernels[:-1], **sizes)
    ops.conv(f"{name}/project", width, act="relu")
    return ops.done()


def _classifier(net: MetaKernels, size: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, net.widths[-1])
    ops.append("pool")
    ops.append("linear", net.classes, "classifier", bias=True)
    return ops.done()
