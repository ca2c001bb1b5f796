"""The elastic inverted-residual family: stages of blocks, each described by its choices.

Genome: resolution, widths (first_conv, each stage, last_conv), depths, kernels, expands, in this
order. AttentiveNAS has one width, depth, kernel and expand ratio per stage, shared by its blocks:
31 genes (Wang et al., "AttentiveNAS", CVPR 2021). Once-for-All has a kernel and an expand ratio for
every block (Cai et al., "Once for All", ICLR 2020).
"""

from functools import partial
from typing import Any, NamedTuple

from jaxnas.networks.costs import Layers
from jaxnas.networks.op import ADD, AVGPOOL2, CONV, LINEAR, MUL, POOL
from jaxnas.spaces.space import Gene, Part, Space
from jaxnas.spaces.stage import MobileNet, Stage, head_width, make_divisible, squeezed, strided


class Choice(NamedTuple):
    """What one genome has, per stage; kernels and expands per stage and block.

    Ints or traced; values or, of indices, indices.
    """

    resolution: Any
    first: Any
    widths: list
    last: Any
    depths: list
    kernels: list[list]
    expands: list[list]


def mobilenet_space(name: str, net: MobileNet) -> Space:
    """The space of a structure; its genes are in the order that the head of this page gives."""
    stages = [(f"mb{i}", stage) for i, stage in enumerate(net.stages, 1)]
    genes = (
        Gene("resolution", net.resolutions, static=True),
        Gene("first_conv_width", net.first_widths),
        *(Gene(f"{mb}_width", stage.widths) for mb, stage in stages),
        Gene("last_conv_width", net.last_widths),
        *(Gene(f"{mb}_depth", stage.depths) for mb, stage in stages),
        *(
            gene
            for mb, stage in stages
            for gene in _block_genes(net, mb, stage, "kernel", stage.kernels)
        ),
        *(
            gene
            for mb, stage in stages
            for gene in _block_genes(net, mb, stage, "expand", stage.expands)
        ),
    )
    return Space(name, genes, _parts(net, len(genes)), structure=net)


def _block_genes(
    net: MobileNet, mb: str, stage: Stage, kind: str, choices: tuple[int, ...]
) -> list[Gene]:
    """The stage's gene of a kind, or one for each of its blocks."""
    if not net.per_block:
        return [Gene(f"{mb}_{kind}", choices)]
    needs = [
        (f"{mb}_depth", b + 1) if b >= stage.depths[0] else None for b in range(stage.depths[-1])
    ]
    return [Gene(f"{mb}_block{b}_{kind}", choices, needs=need) for b, need in enumerate(needs)]


def split_genes(net: MobileNet, values) -> Choice:
    """A genome's values, by what they mean.

    A stage's shared kernel and expand ratio are repeated for its blocks.
    """
    rest = list(values)
    n = len(net.stages)
    most = [stage.depths[-1] for stage in net.stages]

    def take(count: int) -> list:
        taken = rest[:count]
        rest[:] = rest[count:]
        return taken

    (resolution, first) = take(2)
    widths = take(n)
    (last,) = take(1)
    depths = take(n)
    kernels, expands = ([take(m) if net.per_block else take(1) * m for m in most] for _ in range(2))
    return Choice(resolution, first, widths, last, depths, kernels, expands)


def _parts(net: MobileNet, genes: int) -> tuple[Part, ...]:
    """The stem, each stage (or each block, where blocks have genes of their own), and the head."""
    at: Any = split_genes(net, range(genes))  # positions in place of values
    width = at.first
    stride = net.first_stride
    parts = [Part((at.resolution, width), partial(_stem, net))]
    for i, stage in enumerate(net.stages):
        every = range(stage.depths[-1])
        for blocks in [range(b, b + 1) for b in every] if net.per_block else [every]:
            b = blocks[0]
            decided_by = (
                at.resolution,
                width if b == 0 else at.widths[i],
                at.widths[i],
                at.depths[i],
                at.kernels[i][b],
                at.expands[i][b],
            )
            parts.append(Part(decided_by, partial(_blocks, net, stage, stride, blocks)))
        width = at.widths[i]
        stride = stride * stage.stride
    return (*parts, Part((at.resolution, width, at.last), partial(_head, net, stride)))


def _stem(net: MobileNet, resolution, width) -> list[Layers]:
    size = strided(resolution, net.first_stride)
    return [_row(CONV, resolution, size, net.channels, width, 3, net.first_stride)]


def _head(net: MobileNet, stride: int, resolution, width, last) -> list[Layers]:
    size = strided(resolution, stride)
    wide = head_width(net, width, last)
    feature = [_row(CONV, 1, 1, wide, last, extras=0)] if net.head == "v3" else []
    return [
        _row(CONV, size, size, width, wide),
        _row(POOL, size, 1, wide, wide, extras=0),
        *feature,
        _row(LINEAR, 1, 1, last, net.classes, extras=1),
    ]


def _blocks(
    net: MobileNet,
    stage: Stage,
    stride: int,
    blocks: range,
    resolution,
    c_in,
    c_out,
    depth,
    kernel,
    expand,
) -> list[Layers]:
    """Some blocks of a stage, in which every size is 1/`stride` of the image's at first.

    Skipped blocks have repeat 0.
    """
    size = strided(resolution, stride)
    rows = []
    for b in blocks:
        if b == 0:
            block = _block(net, stage, stage.stride, size, c_in, c_out, kernel, expand)
        else:
            block = _block(net, stage, 1, strided(size, stage.stride), c_out, c_out, kernel, expand)
        rows += [row._replace(repeat=row.repeat * (b < depth)) for row in block]
    return rows


def _block(
    net: MobileNet, stage: Stage, stride: int, before, c_in, c_out, kernel, expand
) -> list[Layers]:
    """The operators of one block, whose input has `before` pixels.

    `kept` is what the shortcut still needs.
    """
    size = strided(before, stride)
    middle = make_divisible(c_in * expand)
    shortcut = 1 if net.shortcut == "always" else (stride == 1) * (c_in == c_out)
    kept = shortcut * before**2 * c_in
    wide = size**2 * middle
    narrow = size**2 * c_out
    rows = []
    if stage.operator == "fused_mbconv":
        rows += [_row(CONV, before, size, c_in, middle, kernel, stride)]
    elif stage.expand_kernels:
        rows += [_row(CONV, before, before, c_in, middle)]
    if stage.depthwise_kernels:
        rows += [
            _row(
                CONV,
                before,
                size,
                middle,
                middle,
                kernel,
                stride,
                groups=middle,
                kept=kept if rows else 0,
            )
        ]
    if stage.squeeze_excite:
        rows += [
            _row(POOL, size, 1, middle, middle, extras=0, kept=kept),
            _row(CONV, 1, 1, middle, squeezed(middle), extras=1, kept=kept + wide),
            _row(CONV, 1, 1, squeezed(middle), middle, extras=1, kept=kept + wide),
            _row(MUL, size, size, middle, middle, extras=0, kept=kept + middle, second=middle),
        ]
    if stage.operator == "conv":
        rows += [_row(CONV, before, size, c_in, c_out, kernel, stride)]
    else:
        rows += [_row(CONV, size, size, middle, c_out, kept=kept)]
    if stride == 2 and net.shortcut == "always":
        rows += [_row(AVGPOOL2, before, size, c_in, c_in, extras=0, kept=narrow)]
    if net.shortcut == "always":
        rows += [
            _row(CONV, size, size, c_in, c_out, extras=0, kept=narrow, repeat=(c_in != c_out) * 1)
        ]
    return [
        *rows,
        _row(ADD, size, size, c_out, c_out, extras=0, kept=narrow, second=narrow, repeat=shortcut),
    ]


def _row(
    kind,
    before,
    size,
    c_in,
    c_out,
    kernel: Any = 1,
    stride: Any = 1,
    groups: Any = 1,
    extras: Any = 2,
    kept=0,
    second: Any = 0,
    repeat: Any = 1,
):
    """One operator.

    Its first input is `before` pixels wide, `kept` activations are held beside it, of them `second`
    its other input.
    """
    first = before**2 * c_in
    return Layers(
        kind,
        size,
        size,
        c_in,
        c_out,
        kernel,
        stride,
        groups,
        extras,
        first + second,
        first + size**2 * c_out + kept,
        repeat,
    )
