"""Residual networks of parallel branches: the search space of AnalogNAS.

Benmeziane et al., "AnalogNAS: a neural network design framework for accurate inference with analog
in-memory computing" (EDGE 2023). A 7x7 convolution, up to five groups of blocks, a global average
and a linear layer. A block is the sum of branches and a shortcut, with activations before
convolutions; a group is 1 / `widenfact` times as wide as what stands before it.

Genome: `out_channel0`, `M` (groups), `R1` to `R5` (blocks), then `convblock`, `widening` and `B`
(branches) of each group: the 22 published decisions in the published order. `features` maps a
genome to the 22 numbers that the published predictors read. `widenfact`, drawn there from 0.5 to
0.8, is `widening` here, its inverse in percent: choices from 125 (a factor of 0.8) to 200 (0.5),
equally far apart, so that a larger choice is a wider group, as in every other space.

Where the published code differs from the description, the description holds:

- Its groups all have stride 1, for the argument is ignored. Here groups behind the first halve the
  map. A group that is not there halves it by an average pool, which leaves the global average of a
  map of even sides as it is.
- It reads `convblock` and builds basic blocks. Here 2 is a bottleneck of a quarter of the width.
- It rounds a width down, group by group. Here the product is rounded, to a multiple of 8.
- Its shortcuts are two convolutions of half the width, the second on an image that is shifted by a
  pixel, to lose no pixel to a stride, and there is none. Here one convolution has the block's
  stride, and as many weights as the two.
- Its 7x7 convolution pads one pixel. Here the map keeps its size.

The published space has 10^15 networks with these factors, and widths of up to 2,048 channels that
all earlier genes decide: too many combinations for tables and for a supernet. `published` is genes
alone, which predictors score, and `alone` builds any network of it. A group of 0 blocks and one
beyond `M` are the same, and two genomes. `resnet_like` has a supernet, and no group of 0 blocks.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.encodings import gene_values
from jaxnas.spaces.gene import Gene, Needs
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part, of_named
from jaxnas.spaces.resnet_like_structure import (
    BASIC,
    BLOCKS,
    BOTTLENECK,
    GROUPS,
    PERCENT,
    ResnetLike,
    ResnetLikeGroup,
    width,
)
from jaxnas.spaces.space import Space
from jaxnas.types import Genome, Size

FIRST = "out_channel0"
NUMBER = "M"
OF_GROUP = ("convblock", "widening", "B")
LABELS = {BASIC: "basic", BOTTLENECK: "bottleneck"}
WIDENINGS = (125, 140, 155, 170, 185, 200)
MOST_BLOCKS = 15


def resnet_like(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 0.3 to 51 MMACs at 32 pixels: up to three groups of up to two blocks and branches.

    The stem halves the map, so that two cores train the supernet.
    """
    group = partial(ResnetLikeGroup, (1, 2), (125, 160, 200), (1, 2), BLOCKS)
    stages = (group(1), group(2), group(2))
    net = ResnetLike(image_size, (8, 16), (1, 2, 3), stages, channels, classes, 2)
    return resnet_like_space("resnet_like", net)


def published(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """All 22 genes with the published choices, and no parts."""
    stages = tuple(
        ResnetLikeGroup(
            tuple(range(int(group == 1), MOST_BLOCKS + 1)),
            WIDENINGS,
            (1, 2, 3, 4),
            BLOCKS,
            1 if group == 1 else 2,
        )
        for group in range(1, GROUPS + 1)
    )
    numbers = tuple(range(1, GROUPS + 1))
    first = (8, 12, 16, 32, 48, 64)
    net = ResnetLike(image_size, first, numbers, stages, channels, classes)
    name = "resnet_like_published"
    return Space(name, _genes(net), (), net, partial(smallest, name, net))


def alone(space: Space, genome: Genome | np.ndarray) -> Space:
    """The space of one network: that of this genome of a space of this family."""
    net = space.structure
    assert isinstance(net, ResnetLike)
    values = space.decode(np.asarray(space.canonical(np.asarray(genome))))
    number = values[NUMBER]
    stages = tuple(
        ResnetLikeGroup(
            (values[f"R{group}"],),
            *((values[f"{kind}{group}"],) for kind in ("widening", "B", "convblock")),
            stride=stage.stride,
        )
        for group, stage in enumerate(net.stages[:number], 1)
    )
    one = ResnetLike(
        net.pixels,
        (values[FIRST],),
        (number,),
        stages,
        net.channels,
        net.classes,
        net.first_stride,
    )
    return resnet_like_space(space.name, one)


def features(space: Space, genomes: Int[Array | np.ndarray, "n genes"]) -> Float[Array, "n 22"]:
    """What the published predictors read of genomes of this family; traceable.

    `widenfact` in place of `widening`; 0 for all that a group decides which is not there.
    """
    values = gene_values(space, genomes)
    column = {gene.name: values[:, i] for i, gene in enumerate(space.genes)}
    none = jnp.zeros(len(values), jnp.float32)
    found = [column.get(name, none) for name in _names(GROUPS)]
    factors = [
        jnp.where(one > 0, PERCENT / jnp.maximum(one, 1), 0) if "widening" in name else one
        for name, one in zip(_names(GROUPS), found, strict=True)
    ]
    return jnp.stack(factors, axis=1)


def resnet_like_space(name: str, net: ResnetLike) -> Space:
    """The space of a structure; its parts have at most 16,384 combinations of choices each."""
    genes = _genes(net)
    parts = _parts(net, [gene.name for gene in genes])
    return Space(name, genes, parts, net, partial(smallest, name, net))


def smallest(name: str, net: ResnetLike) -> Space:
    """Narrow, on small images: a group of basic blocks, and maybe one of either kind."""
    first = ResnetLikeGroup((1, 2), (125, 200), (1,), (BASIC,))
    second = ResnetLikeGroup((1,), (150,), (1, 2), BLOCKS, 2)
    small = ResnetLike(12, (8, 16), (1, 2), (first, second), net.channels, 4)
    return resnet_like_space(name, small)


def _names(groups: int) -> list[str]:
    """Of the genes, in the published order."""
    numbers = range(1, groups + 1)
    repeats = [f"R{group}" for group in numbers]
    return [FIRST, NUMBER, *repeats, *(f"{kind}{group}" for group in numbers for kind in OF_GROUP)]


def _genes(net: ResnetLike) -> tuple[Gene, ...]:
    repeats = []
    own = []
    for group, stage in enumerate(net.stages, 1):
        name = f"R{group}"
        there = tuple(number for number in net.numbers if number >= group)
        of_group = (NUMBER, there) if len(there) < len(net.numbers) else None
        blocks = tuple(repeat for repeat in stage.repeats if repeat)
        needs: Needs | None = of_group
        if blocks and 0 in stage.repeats:
            needs = (name, blocks)
        repeats.append(Gene(name, stage.repeats, "depth", needs=of_group))
        labels = tuple(LABELS[block] for block in stage.blocks)
        own += [
            Gene(f"convblock{group}", stage.blocks, "operation", needs=needs, labels=labels),
            Gene(f"widening{group}", stage.widenings, "width", needs=needs),
            Gene(f"B{group}", stage.branches, "branches", needs=needs),
        ]
    first = Gene(FIRST, net.first_widths, "width")
    return (first, Gene(NUMBER, net.numbers, "depth"), *repeats, *own)


def _parts(net: ResnetLike, genes: list[str]) -> tuple[Part, ...]:
    """The stem, every block, and the head."""
    parts = [of_named(genes, "stem", [FIRST], partial(_stem, net))]
    sides = _sides(net)
    for group, stage in enumerate(net.stages, 1):
        by = [*_deciding(net, group), f"convblock{group}", f"B{group}"]
        for block in range(max(stage.repeats[-1], 1)):
            name = f"group{group}/block{block}"
            side = sides[group - (block == 0)]
            ops = partial(_block, net, stage, name, group, block, side, by)
            parts.append(of_named(genes, name, by, ops))
    by = _deciding(net, len(net.stages))
    ops = partial(_head, net, sides[-1], by)
    return (*parts, of_named(genes, "classifier", by, ops))


def _sides(net: ResnetLike) -> list[int]:
    """Pixels of the map behind the stem and each group."""
    first = strided(net.pixels, net.first_stride)
    return list(accumulate((stage.stride for stage in net.stages), strided, initial=first))


def _deciding(net: ResnetLike, group: int) -> list[str]:
    """Genes that decide the width behind a group, and how many blocks of it there are."""
    names = [FIRST, *([NUMBER] if group > net.numbers[0] else [])]
    for i, stage in enumerate(net.stages[:group], 1):
        names += [f"R{i}"] if i == group or 0 in stage.repeats else []
        names.append(f"widening{i}")
    return names


def _repeats(net: ResnetLike, values: dict[str, Size], group: int) -> Size:
    """Blocks of a group; of one that always has some, 1 where the number is not among `values`."""
    there = 1 if group <= net.numbers[0] else (values[NUMBER] >= group) * 1
    return values.get(f"R{group}", 1) * there


def _width(net: ResnetLike, values: dict[str, Size], groups: int) -> Size:
    """Channels behind so many groups."""
    widenings = []
    for group in range(1, groups + 1):
        there = (_repeats(net, values, group) > 0) * 1
        widenings.append(PERCENT + there * (values[f"widening{group}"] - PERCENT))
    return width(values[FIRST], widenings)


def _stem(net: ResnetLike, first: Size) -> tuple[Op, ...]:
    ops = PartBuilder(net.pixels, net.channels)
    ops.conv("stem", first, kernel=7, stride=net.first_stride)
    return ops.done()


def _head(net: ResnetLike, side: int, by: Sequence[str], *values: Size) -> tuple[Op, ...]:
    chosen = dict(zip(by, values, strict=True))
    ops = PartBuilder(side, _width(net, chosen, len(net.stages)))
    ops.append("pool")
    ops.append("linear", net.classes, "classifier", bias=True)
    return ops.done()


def _block(
    net: ResnetLike,
    stage: ResnetLikeGroup,
    name: str,
    group: int,
    block: int,
    side: int,
    by: Sequence[str],
    *values: Size,
) -> tuple[Op, ...]:
    """A block that groups of up to `block` blocks do without."""
    chosen = dict(zip(by, values, strict=True))
    there = (_repeats(net, chosen, group) > block) * 1
    stride = stage.stride if block == 0 else 1
    before, wide = (_width(net, chosen, behind) for behind in (group - (block == 0), group))
    ops = PartBuilder(side, before)
    with ops.only_where(there):
        relu = ops.append("identity", act="relu")
        total = _branches(ops, stage, name, relu, stride, wide, chosen, group)
        around = _shortcut(ops, name, relu, stride, wide)
        added = ops.append("add", inputs=(total, around))
    handed = ops.append("avgpool2", inputs=(0,), repeat=1 - there) if stride == 2 else 0
    ops.pick((handed, added), there)
    return ops.done()


def _branches(
    ops: PartBuilder,
    stage: ResnetLikeGroup,
    name: str,
    relu: int,
    stride: int,
    wide: Size,
    chosen: dict[str, Size],
    group: int,
) -> int:
    """The sum of as many branches as are chosen."""
    count = chosen[f"B{group}"]
    total = 0
    for branch in range(stage.branches[-1]):
        more = (count > branch) * 1
        with ops.only_where(more):
            path = f"{name}/branch{branch}"
            kind = chosen[f"convblock{group}"]
            result = _branch(ops, stage, path, relu, stride, wide, kind)
            added = ops.append("add", inputs=(total, result)) if branch else result
        total = ops.pick((total, added), more) if branch else result
    return total


def _branch(
    ops: PartBuilder,
    stage: ResnetLikeGroup,
    path: str,
    relu: int,
    stride: int,
    wide: Size,
    kind: Size,
) -> int:
    """A basic branch or a bottleneck, whichever of both is chosen."""
    results = []
    for block in stage.blocks:
        with ops.only_where((kind == block) * 1):
            build = _basic if block == BASIC else _bottleneck
            results.append(build(ops, f"{path}/{LABELS[block]}", relu, stride, wide))
    if len(results) == 1:
        return results[0]
    return ops.pick(tuple(results), kind - BASIC)


def _basic(ops: PartBuilder, path: str, relu: int, stride: int, wide: Size) -> int:
    ops.conv(f"{path}/conv1", wide, act="relu", inputs=(relu,), kernel=3, stride=stride)
    return ops.conv(f"{path}/conv2", wide, kernel=3)


def _bottleneck(ops: PartBuilder, path: str, relu: int, stride: int, wide: Size) -> int:
    ops.conv(f"{path}/conv1", wide // 4, act="relu", inputs=(relu,))
    ops.conv(f"{path}/conv2", wide // 4, act="relu", kernel=3, stride=stride)
    return ops.conv(f"{path}/conv3", wide)


def _shortcut(ops: PartBuilder, name: str, relu: int, stride: int, wide: Size) -> int:
    """The block's input, or a convolution of it where size or width change."""
    equal = (ops.ops[0].c_out == wide) * 1
    path = f"{name}/shortcut"
    if stride == 2:
        return ops.conv(path, wide, inputs=(relu,), stride=2)
    around = ops.conv(path, wide, inputs=(relu,), repeat=1 - equal)
    return ops.pick((around, 0), equal)
