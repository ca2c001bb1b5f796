"""Small networks by hand.

A stem, an inverted-residual block with squeeze-excite and a shortcut, a head.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet


def halve(size):
    return (size + 1) // 2


def block_ops(height, width, channels, kernel, stride):
    """Stem at stride 2, one block, head; the shortcut pools where the block has stride 2."""
    h = halve(height)
    w = halve(width)
    ho, wo = (halve(h), halve(w)) if stride == 2 else (h, w)
    ops = [
        Op("conv", "stem", (-1,), h, w, channels, 8, kernel=3, stride=2, norm=True, act="swish"),
        Op("conv", "mb1/block0/expand", (0,), h, w, 8, 16, norm=True, act="swish"),
        Op(
            "conv",
            "mb1/block0/depthwise",
            (1,),
            ho,
            wo,
            16,
            16,
            kernel,
            stride,
            groups=16,
            norm=True,
            act="swish",
        ),
        Op("pool", "", (2,), 1, 1, 16, 16),
        Op("conv", "mb1/block0/squeeze", (3,), 1, 1, 16, 8, bias=True, act="relu"),
        Op("conv", "mb1/block0/excite", (4,), 1, 1, 8, 16, bias=True, act="hard_sigmoid"),
        Op("mul", "", (2, 5), ho, wo, 16, 16),
        Op("conv", "mb1/block0/project", (6,), ho, wo, 16, 12, norm=True),
    ]
    around = 0
    if stride == 2:
        around = len(ops)
        ops.append(Op("avgpool2", "", (0,), ho, wo, 8, 8))
    ops.append(Op("conv", "mb1/block0/shortcut", (around,), ho, wo, 8, 12))
    ops.append(Op("add", "", (7, len(ops) - 1), ho, wo, 12, 12))
    ops.append(Op("pool", "", (len(ops) - 1,), 1, 1, 12, 12))
    ops.append(Op("conv", "feature", (len(ops) - 1,), 1, 1, 12, 24, act="swish"))
    ops.append(Op("linear", "classifier", (len(ops) - 1,), 1, 1, 24, 10, bias=True))
    return tuple(ops)


def random_arrays(ops, seed=0):
    """Random weights, norm scales, shifts and statistics.

    All are far from those of an initialisation.
    """
    r = np.random.default_rng(seed)
    weights = {}
    stats = {}
    for op in ops:
        if op.kind not in ("conv", "linear"):
            continue
        shape = (
            (op.c_in, op.c_out)
            if op.kind == "linear"
            else (op.kernel, op.kernel, op.c_in // op.groups, op.c_out)
        )
        arrays = {"kernel": r.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))}
        if op.bias:
            arrays["bias"] = 0.3 * r.normal(size=op.c_out)
        if op.norm:
            arrays |= {"scale": r.uniform(0.5, 2, op.c_out), "shift": r.normal(size=op.c_out)}
            stats[op.path] = {"mean": r.normal(size=op.c_out), "var": r.uniform(0.3, 2, op.c_out)}
        weights[op.path] = arrays
    return Subnet(
        ops, *jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), (weights, stats))
    )


@pytest.fixture(scope="session")
def make_subnet():
    """(height, width, channels, kernel, stride) -> Subnet with random weights and statistics."""
    return lambda height, width, channels=3, kernel=3, stride=2: random_arrays(
        block_ops(height, width, channels, kernel, stride)
    )


@pytest.fixture(scope="session")
def make_images():
    """(n, height, width, channels) -> noise around a colour of each image's own.

    Else the logits would hardly differ.
    """

    def make(n, height, width, channels):
        r = np.random.default_rng(1)
        return (
            r.normal(size=(n, 1, 1, channels)) + r.normal(size=(n, height, width, channels))
        ).astype(np.float32)

    return make
