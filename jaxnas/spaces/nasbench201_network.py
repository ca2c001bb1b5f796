"""The network around NAS-Bench-201's cells (Dong & Yang, ICLR 2020, section 2.1).

A 3x3 convolution, stages of cells of one width, between two stages a residual block that
halves the map and doubles the width, and a classifier. All cells of a network are alike in their
operations, each with weights of its own.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.cells import edge, node, relu_conv_norm
from jaxnas.spaces.part_builder import PartBuilder, classifier
from jaxnas.spaces.parts import Part

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple((source, target) for target in range(1, 4) for source in range(target))


@dataclass(frozen=True)
class NasBench201:
    """Sizes of the network, by default the published ones."""

    stages: int = 3
    cells: int = 5  # of a stage
    width: int = 16  # of the first stage
    pixels: int = 32
    channels: int = 3  # of the images
    classes: int = 10

    def __post_init__(self):
        for name, value in asdict(self).items():
            if value < 1:
                raise UserError(f"{name} of nasbench201 must be at least 1, got {value}")

    def settings(self) -> dict[str, Any]:
        """As it is saved."""
        return asdict(self)

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return asdict(NasBench201()) | saved


def network_parts(net: NasBench201) -> tuple[Part, ...]:
    """The stem, edges and nodes of every cell, residual blocks, and the head."""
    parts = [Part("stem", (), partial(_stem, net))]
    size, width = net.pixels, net.width
    for stage in range(1, net.stages + 1):
        if stage > 1:
            name = f"stage{stage}/reduction"
            parts.append(Part(name, (), partial(_reduction, name, size, width)))
            size, width = strided(size, 2), 2 * width
        for n in range(net.cells):
            parts += _cell(f"stage{stage}/cell{n}", parts[-1].name, size, width)
    parts.append(Part("last", (), partial(_last, size, width)))
    parts.append(Part("classifier", (), partial(classifier, width, net.classes)))
    return tuple(parts)


def _cell(name: str, before: str, size: int, width: int) -> list[Part]:
    """Edges in the order of the genes; each node behind the edges that it is the sum of."""
    parts = []
    nodes = [before]
    for gene, (source, target) in enumerate(EDGES):
        own = f"{name}/edge_{source}_{target}"
        ops = partial(edge, own, OPERATIONS, size, width, 1)
        parts.append(Part(own, (gene,), ops, (nodes[source],)))
        if source == target - 1:
            edges = tuple(f"{name}/edge_{i}_{target}" for i in range(target))
            parts.append(
                Part(f"{name}/node_{target}", (), partial(node, size, width, target), edges)
            )
            nodes.append(parts[-1].name)
    return parts


def _stem(net: NasBench201) -> tuple[Op, ...]:
    ops = PartBuilder(net.pixels, net.channels)
    ops.conv("stem", net.width, kernel=3)
    return ops.done()


def _reduction(name: str, size: int, width: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, width)
    relu_conv_norm(ops, f"{name}/conv_a", 2 * width, kernel=3, stride=2, act="relu")
    branch = ops.conv(f"{name}/conv_b", 2 * width, kernel=3)
    ops.append("avgpool2", inputs=(0,))
    shortcut = ops.append("conv", 2 * width, f"{name}/downsample")
    ops.append("add", inputs=(branch, shortcut))
    return ops.done()


def _last(size: int, width: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, width)
    ops.append("identity", path="last", norm=True, act="relu")
    ops.append("pool")
    return ops.done()
