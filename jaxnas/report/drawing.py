"""A drawing of a network: its parts from the image down, and what each costs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from markupsafe import Markup, escape

from jaxnas.networks.op import Op
from jaxnas.records.layers import LAYERS, read_layers
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import words
from jaxnas.report.spelled import Spelled

ROW = 24  # units of height; the drawing is 360 wide
BLOCK = (96, 172)  # from left to right, of the widest
BARS = (246, 302)


class Block(NamedTuple):
    """A part of a network: its operators, and milliseconds where a table has them."""

    name: str
    ops: tuple[Op, ...]
    ms: float | None = None

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)

    @property
    def kernel(self) -> int:
        """The largest of its convolutions."""
        return max((op.kernel for op in self.ops if op.kind == "conv"), default=1)


def blocks_of(spelled: Spelled, genome: Int[np.ndarray, "genes"], run: RunDirectory) -> list[Block]:
    """The parts of a network that it has, in order."""
    ops, owners = spelled.ops(genome)
    grouped: dict[str, list[Op]] = {}
    for op, owner in zip(ops, owners, strict=True):
        grouped.setdefault(owner, []).append(op)
    ms = _measured(spelled, genome, run)
    return [Block(name, tuple(some), ms.get(name)) for name, some in grouped.items()]


def _measured(
    spelled: Spelled, genome: Int[np.ndarray, "genes"], run: RunDirectory
) -> dict[str, float]:
    """Latency by the first of the parts that a table's entry is of."""
    space = spelled.space
    if space is None or not run.exists(LAYERS):
        return {}
    table = {(one.parts, one.choices): one.latency_ms for one in read_layers(run)}
    chosen = np.asarray(space.canonical(genome))
    found = {}
    for term in space.terms:
        parts = [space.parts[i].name for i in term.parts]
        choices = [f"{space.genes[i].name}={space.genes[i].choices[chosen[i]]}" for i in term.genes]
        ms = table.get((" ".join(parts), " ".join(choices)))
        if ms is not None:
            found[parts[0]] = ms
    return found


def drawn(blocks: Sequence[Block], title: str) -> Markup:
    """The network as an `<svg>` element, whose colours are the page's."""
    timed = any(block.ms is not None for block in blocks)
    costs = [(block.ms or 0.0) if timed else float(block.macs) for block in blocks]
    widest = max(np.sqrt(block.ops[-1].c_out) for block in blocks)
    head = [(0, "part", ""), (134, "kernel", "middle"), (180, "output", "")]
    head += [(358, "ms" if timed else "multiply-adds", "end")]
    body = "".join(_text(x, 14, text, anchor) for x, text, anchor in head)
    for i, (block, cost) in enumerate(zip(blocks, costs, strict=True)):
        told = words.significant(block.ms) if timed else words.quantity(cost)
        body += _row(block, 22 + ROW * i, cost / (max(costs) or 1.0), told, widest)
    box = f'viewBox="0 0 360 {26 + ROW * len(blocks)}"'
    return Markup(f'<svg {box} role="img" aria-label="{escape(title)}">{body}</svg>')


def _row(block: Block, y: int, share: float, told: str, widest: float) -> str:
    last = block.ops[-1]
    wide = max(30.0, (BLOCK[1] - BLOCK[0]) * float(np.sqrt(last.c_out) / widest))
    x = (BLOCK[0] + BLOCK[1] - wide) / 2
    color = "var(--s6)" if block.kernel == 1 else ("var(--s0)" if block.kernel < 5 else "var(--s2)")
    rect = (
        f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{ROW - 5}" rx="4" fill="{color}"/>'
    )
    bar = (BARS[1] - BARS[0]) * max(share, 0)
    meter = f'<rect x="{BARS[0]}" y="{y + 5}" width="{bar:.1f}" height="{ROW - 15}" rx="2"'
    size = f"{last.c_out} × {last.height}²"
    inside = f"{block.kernel}×{block.kernel}"
    return (
        f"<g><title>{escape(_described(block))}</title>{rect}"
        + _text(0, y + 14, _short(block.name), "", "name")
        + _text((BLOCK[0] + BLOCK[1]) / 2, y + 14, inside, "middle", "inside")
        + _text(180, y + 14, size)
        + f'{meter} fill="var(--accent)" fill-opacity="0.75"/>'
        + _text(358, y + 14, told, "end")
        + "</g>"
    )


def _short(name: str) -> str:
    """At most 15 characters."""
    return name if len(name) <= 15 else f"{name[:14]}…"


def _text(x: float, y: float, text: str, anchor: str = "", kind: str = "") -> str:
    placed = f' text-anchor="{anchor}"' if anchor else ""
    styled = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{placed}{styled}>{escape(text)}</text>'


def _described(block: Block) -> str:
    """All its operators, for who points at it."""
    lines = [f"{block.name}: {words.quantity(block.macs)} multiply-adds"]
    lines += [f"{block.ms:.4g} ms by the table of parts"] if block.ms is not None else []
    return "\n".join([*lines, *map(_operator, block.ops)])


def _operator(op: Op) -> str:
    name = op.path.rpartition("/")[2] or op.kind
    kernel = f" {op.kernel}×{op.kernel}" if op.kernel > 1 else ""
    stride = f" stride {op.stride}" if op.stride > 1 else ""
    return f"{name}:{kernel}{stride} {op.c_in} → {op.c_out} channels, {op.height}×{op.width}"


def drawings(
    networks: Sequence[Mapping[str, Any]], spelled: Spelled, run: RunDirectory
) -> list[dict[str, Any]]:
    """A drawing of each network; none where the space is not at hand."""
    if spelled.space is None or not spelled.space.parts:
        return []
    found = []
    for one in networks:
        blocks = blocks_of(spelled, np.asarray(one["genome"]), run)
        title = f"{one['name']}: {len(blocks)} parts"
        found.append({"letter": one["letter"], "name": one["name"], "svg": drawn(blocks, title)})
    return found
