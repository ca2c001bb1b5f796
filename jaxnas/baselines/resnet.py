"""ResNets of CIFAR and published weights of theirs.

He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2.
"""

import os
import zipfile
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxnas.errors import UserError
from jaxnas.networks.builder import append, append_classifier, append_conv
from jaxnas.networks.norm import Leaf
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, Subnet

WIDTHS = (16, 32, 64)
_NORM = {"scale": "weight", "shift": "bias"}
_STATISTICS = {"mean": "running_mean", "var": "running_var"}

Tensors = Mapping[str, Float[np.ndarray, "..."]]  # a PyTorch state dict


def operators(depth: int, classes: int, projection: bool = True) -> tuple[Op, ...]:
    """ResNet of 6 n + 2 layers.

    Where the width grows, the shortcut is a 1x1 convolution with norm (the paper's option B), as in
    the table of pytorch-cifar-models; without `projection`, every second pixel and zeros for the
    new channels (option A), as in the paper.
    """
    blocks = (depth - 2) // 6
    if depth != 6 * blocks + 2 or blocks < 1:
        raise UserError(
            f"a ResNet of CIFAR has 6 n + 2 layers, got {depth}: choose 20, 32, 44, 56 or 110"
        )
    ops: list[Op] = []
    append_conv(ops, "conv1", WIDTHS[0], 3)
    for stage, width in enumerate(WIDTHS, 1):
        for block in range(blocks):
            _block(
                ops,
                f"layer{stage}/{block}",
                width,
                2 if stage > 1 and block == 0 else 1,
                projection,
            )
    append_classifier(ops, "linear", classes)
    return tuple(ops)


def _block(ops: list[Op], path: str, width: int, stride: int, projection: bool) -> None:
    """A basic block, which is strided where its width grows."""
    around = len(ops) - 1
    narrow = ops[around].c_out
    append_conv(ops, f"{path}/conv1", width, 3, stride)
    branch = append_conv(ops, f"{path}/conv2", width, 3, act="")
    if stride > 1 and projection:
        around = append_conv(ops, f"{path}/shortcut", width, 1, stride, "", (around,))
    elif stride > 1:
        around = append(
            ops, "select", width, inputs=(around,), stride=stride, start=-((width - narrow) // 2)
        )
    append(ops, "add", inputs=(branch, around), act="relu")


def load(path: str | os.PathLike[str]) -> Subnet:
    """A state dict of pytorch_resnet_cifar10 (option A) saved by `numpy.savez`.

    github.com/akamaster/pytorch_resnet_cifar10; its depth and classes follow.

    Its images are RGB in [0, 1], less (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225).
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            tensors = {name.removeprefix("module."): archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot read the weights {path}: {reason}; expected an .npz file with a ResNet's "
            "state dict"
        ) from error
    layers = sum(name.endswith(".weight") and array.ndim == 4 for name, array in tensors.items())
    classes = len(_tensor(path, tensors, "linear.weight", None))
    ops = operators(layers + 1, classes, projection=False)
    weights: Arrays = {op.path: _arrays(path, tensors, op) for op in ops if op.path}
    stats: Arrays = {op.path: _renamed(path, tensors, op, _STATISTICS) for op in ops if op.norm}
    return Subnet(ops, weights, stats)


def _arrays(path, tensors: Tensors, op: Op) -> dict[str, Leaf]:
    """The weights of an operator."""
    name = op.path.replace("/", ".")
    if op.kind == "linear":
        kernel = _tensor(path, tensors, f"{name}.weight", (op.c_out, op.c_in)).T
        return {"kernel": kernel, "bias": _tensor(path, tensors, f"{name}.bias", (op.c_out,))}
    kernel = _tensor(
        path, tensors, f"{name}.weight", (op.c_out, op.c_in, op.kernel, op.kernel)
    ).transpose(2, 3, 1, 0)
    return {"kernel": kernel} | _renamed(path, tensors, op, _NORM)


def _renamed(path, tensors: Tensors, op: Op, names: dict[str, str]) -> dict[str, Leaf]:
    """The arrays of an operator's norm: bn1 of conv1."""
    norm = op.path.replace("/", ".").replace("conv", "bn")
    return {
        ours: _tensor(path, tensors, f"{norm}.{theirs}", (op.c_out,))
        for ours, theirs in names.items()
    }


def _tensor(path, tensors: Tensors, name: str, shape: tuple[int, ...] | None) -> Leaf:
    """One of the state dict's arrays, of this shape if one is given."""
    found = tensors.get(name)
    if found is None or (shape is not None and found.shape != shape):
        there = "absent" if found is None else found.shape
        raise UserError(
            f"{path} is no ResNet of CIFAR with option A: {name} should be {shape or 'there'}, "
            f"found {there}; choose another file"
        )
    return found.astype(np.float32)
