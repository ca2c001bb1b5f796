"""The figures of analytic chips.

What the blocks of a network need, and a front of networks by efficiency.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxnas.report.plots import BLUE, GREY, ORANGE, SKY, STYLE, VERMILLION, axes_of, cycled


@mpl.rc_context(STYLE)
def memory(
    blocks: Sequence[str],
    weight_bytes: Float[np.ndarray, "n"],
    activation_bytes: Float[np.ndarray, "n"],
    spills: Bool[np.ndarray, "n"],
    memory_bytes: int,
) -> Figure:
    """Bars of the weights and of the most activations of every block, and the local memory.

    Blocks that do not fit are hatched.
    """
    figure, axes = axes_of("block", "kB", (max(6.0, 0.42 * len(blocks)), 4.8))
    at = np.arange(len(blocks))
    both = (
        axes.bar(at - 0.2, weight_bytes / 1e3, 0.4, color=BLUE),
        axes.bar(at + 0.2, activation_bytes / 1e3, 0.4, color=ORANGE),
    )
    for bar, spilled in ((bars[i], spills[i]) for bars in both for i in range(len(blocks))):
        bar.set_hatch("///" if spilled else "")
    meaning = {
        "weights": (BLUE, ""),
        "activations, the most of its layers": (ORANGE, ""),
        "a layer does not fit": ("white", "///"),
    }
    keys = [
        Patch(facecolor=color, edgecolor="black", hatch=hatch, label=label)
        for label, (color, hatch) in meaning.items()
    ]
    line = axes.axhline(
        memory_bytes / 1e3,
        color=VERMILLION,
        ls="--",
        label=f"local memory, {memory_bytes / 1e3:.0f} kB",
    )
    axes.set_xticks(at, blocks, rotation=60, ha="right")
    axes.grid(axis="x", visible=False)
    axes.legend(handles=[*keys, line], loc="upper center")
    return figure


@mpl.rc_context(STYLE)
def noise(
    layers: Sequence[str], errors: Float[np.ndarray, "n times"], times: Sequence[str]
) -> Figure:
    """Errors of every layer's weights, a curve for each time after programming."""
    size = (max(6.0, 0.3 * len(layers)), 5.4)
    figure, axes = axes_of("layer", "error (% of the layer's largest weight)", size)
    at = np.arange(len(layers))
    for column, label, (color, marker) in zip(errors.T, times, cycled(), strict=False):
        axes.plot(at, 100 * column, color=color, marker=marker, ms=5, lw=1, label=label)
    axes.set_xticks(at, layers, rotation=60, ha="right")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


@mpl.rc_context(STYLE)
def efficiency(
    others: Float[np.ndarray, "n 2"],
    front: Float[np.ndarray, "m 3"],
    marked: Mapping[str, Float[np.ndarray, "k 2"]],
    title: str,
    slower: Float[np.ndarray, "k 2"] | None = None,
) -> Figure:
    """Millions of operations against mu.

    Some of the networks that the limit allows and of those that are `slower`, the front (its third
    column: latency, ms), and networks to compare with.
    """
    figure, axes = axes_of(
        "operations (million)", "efficiency mu: accelerator cycles / system cycles", (8.0, 5.6)
    )
    axes.set_title(title)
    clouds = [(others, SKY, "networks of the space")]
    if slower is not None:
        clouds = [(slower, GREY, "slower than the limit"), (others, SKY, "within the limit")]
    for some, color, label in clouds:
        axes.scatter(
            some[:, 0], some[:, 1], s=5, color=color, alpha=0.6, lw=0, rasterized=True, label=label
        )
    points = axes.scatter(
        front[:, 0], front[:, 1], s=30, c=front[:, 2], cmap="viridis", lw=0, zorder=3, label="front"
    )
    if len(front) > 1:
        figure.colorbar(points, ax=axes, label="latency of the front (ms)")
    for (name, some), (color, marker) in zip(marked.items(), cycled(), strict=False):
        axes.plot(
            some[:, 0],
            some[:, 1],
            color=color,
            marker=marker,
            ms=7,
            lw=1,
            mec="white",
            label=name,
            zorder=4,
        )
    axes.legend()
    return figure
