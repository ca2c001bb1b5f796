"""RepVGG (Ding et al., 2021, table 2) for CIFAR: its first two strides are 1."""

from dataclasses import replace

import jax.numpy as jnp

from jaxnas.errors import UserError, choose
from jaxnas.networks.builder import append, append_classifier, append_conv
from jaxnas.networks.norm import Leaf
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, Subnet, fold

WIDTHS = (64, 128, 256, 512)
BLOCKS = (2, 4, 14, 1)
STRIDES = (1, 2, 2, 2)
# Of the first three stages and of the last.
MULTIPLIERS = {"a0": (0.75, 2.5), "a1": (1.0, 2.5), "a2": (1.5, 2.75)}


def operators(size: str, classes: int) -> tuple[Op, ...]:
    """RepVGG-A0, A1 or A2 as it is trained, each block of two or three branches.

    `reparameterised` gives the deployed form.
    """
    narrow, wide = choose("RepVGG", size, MULTIPLIERS)
    widths = [
        int(width * times)
        for width, times in zip(WIDTHS, (narrow, narrow, narrow, wide), strict=True)
    ]
    ops: list[Op] = []
    _block(ops, "stage0/0", min(WIDTHS[0], widths[0]), 1)
    for stage, (width, blocks, stride) in enumerate(zip(widths, BLOCKS, STRIDES, strict=True), 1):
        for block in range(blocks):
            _block(ops, f"stage{stage}/{block}", width, 1 if block else stride)
    append_classifier(ops, "classifier", classes)
    return tuple(ops)


def _block(ops: list[Op], path: str, width: int, stride: int) -> None:
    """3x3 and 1x1 convolution and, where nothing changes its shape, the input itself.

    Each has a norm of its own.
    """
    source = len(ops) - 1
    same = source >= 0 and stride == 1 and ops[source].c_out == width
    dense = append_conv(ops, f"{path}/dense", width, 3, stride, "", (source,))
    pointwise = append_conv(ops, f"{path}/pointwise", width, 1, stride, "", (source,))
    total = append(ops, "add", inputs=(dense, pointwise), act="" if same else "relu")
    if same:
        identity = append(ops, "identity", path=f"{path}/identity", inputs=(source,), norm=True)
        append(ops, "add", inputs=(total, identity), act="relu")


def reparameterised(subnet: Subnet) -> Subnet:
    """The same function with one 3x3 convolution in the place of each block's branches and norms.

    The paper's section 3.3.
    """
    folded = fold(subnet)
    ops: list[Op] = []
    weights: Arrays = {}
    for op in folded.ops:
        block, _, branch = op.path.rpartition("/")
        if branch == "dense":
            ops.append(replace(op, path=block, inputs=(len(ops) - 1,), act="relu"))
            weights[block] = _merged(folded.weights, block)
        elif op.kind in ("pool", "linear"):
            ops.append(replace(op, inputs=(len(ops) - 1,)))
    if not weights:
        raise UserError(
            "expected a RepVGG as it is trained, got a network without its branches: it may be "
            "reparameterised already"
        )
    return Subnet(tuple(ops), weights | {"classifier": folded.weights["classifier"]}, {})


def _merged(weights: Arrays, block: str) -> dict[str, Leaf]:
    """The sum of a block's folded branches.

    1x1 kernels and the identity are the middle of a 3x3.
    """
    dense, *others = (
        path
        for name in ("dense", "pointwise", "identity")
        if (path := f"{block}/{name}") in weights
    )
    kernel = jnp.asarray(weights[dense]["kernel"])
    bias = jnp.asarray(weights[dense]["bias"])
    for path in others:
        middle = jnp.asarray(weights[path]["kernel"])[0, 0]
        kernel = kernel.at[1, 1].add(jnp.diag(middle[0]) if path.endswith("/identity") else middle)
        bias = bias + jnp.asarray(weights[path]["bias"])
    return {"kernel": kernel, "bias": bias}
