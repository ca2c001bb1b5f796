"""The peer of `supernet.py`.

Subnets evaluated and a supernet trained as OFA and AttentiveNAS do it, in plain eager PyTorch.

Evaluation, one subnet after another: copy its share of the shared weights into tensors of its own,
recalibrate batch norm in a train-mode forward pass, classify the images in eval mode. Training: the
sandwich rule with in-place distillation, every subnet a slice of the shared weights inside
autograd. Written to be fast: one kernel per operator, values freed after their last use, in-place
where PyTorch allows it, `inference_mode`, a fused optimizer; the list of operators is worked out
beforehand and costs nothing here.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor  # pyright: ignore[reportMissingImports]

from jaxnas.networks.norm import EPSILON
from jaxnas.networks.op import Op

Ops = tuple[Op, ...]
# {path: {name: tensor}}; kernels are (c_out, c_in // groups, k, k) and (classes, c_in).
Arrays = dict[str, dict[str, Tensor]]
Stats = dict[str, tuple[Tensor, Tensor]]  # {path: (mean, variance)}

CORES = len(os.sched_getaffinity(0))
FORMATS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
DEVICE = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Setting:
    """How PyTorch runs. The default is how the published scripts run it."""

    layout: str = "NCHW"  # or channels-last
    batch: int = 256
    threads: int = field(default_factory=lambda: CORES)
    # Else cumulative averages over batches, as published: other statistics.
    joint_calibration: bool = True
    autocast: bool = False  # half precision where PyTorch thinks it safe

    def __str__(self) -> str:
        threads = "" if DEVICE == "cuda" else f", {self.threads} thread{'s' * (self.threads > 1)}"
        calibration = "" if self.joint_calibration else ", calibrated batch by batch"
        return (
            f"{self.layout}, batch {self.batch}{threads}{', autocast' * self.autocast}{calibration}"
        )


class Examples(NamedTuple):
    """Normalised images (n, c, h, w) of one resolution, their labels.

    And images to calibrate on.
    """

    images: Tensor
    labels: Tensor
    calibration: Tensor


def examples(images: Any, labels: Any, calibration: Any, setting: Setting) -> Examples:
    """Those of jaxnas (NHWC) in the layout of a setting."""
    return Examples(
        image_tensor(images, setting), label_tensor(labels), image_tensor(calibration, setting)
    )


def label_tensor(labels: Any) -> Tensor:
    """Class numbers."""
    return _tensor(labels).long()


def image_tensor(images: Any, setting: Setting) -> Tensor:
    """NHWC arrays as (n, c, h, w) in the layout of a setting."""
    return _tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=FORMATS[setting.layout])


def shared_weights(params: dict[str, Any], setting: Setting, path: str = "") -> Arrays:
    """A supernet's weights (nested dict of jaxnas) as tensors by path.

    In the layout of a setting.
    """
    arrays = {}
    found = {}
    for name, value in params.items():
        if isinstance(value, dict):
            found |= shared_weights(value, setting, f"{path}/{name}" if path else name)
        else:
            arrays[name] = _copy(_tensor(value).permute(_AXES[np.ndim(value)]), setting)
    return {path: arrays, **found} if arrays else found


def take(weights: Arrays, ops: Ops) -> Arrays:
    """The operators' shares of the shared weights: first channels, central taps.

    Views, through which gradients flow.
    """
    return {
        op.path: {name: _share(name, tensor, op) for name, tensor in weights[op.path].items()}
        for op in ops
        if op.path
    }


def extract(weights: Arrays, ops: Ops, setting: Setting) -> Arrays:
    """The operators' shares, copied into tensors of their own."""
    return {
        path: {name: _copy(tensor, setting) for name, tensor in arrays.items()}
        for path, arrays in take(weights, ops).items()
    }


def forward(
    ops: Ops,
    weights: Arrays,
    images: Tensor,
    stats: Stats | None = None,
    momentum: float | None = None,
) -> Tensor:
    """Logits.

    With `stats` alone in eval mode, with `momentum` also updating them (1 = to this batch's),
    without in training mode.
    """
    last_use = {i: n for n, op in enumerate(ops) for i in op.inputs}
    values = {-1: images}
    for n, op in enumerate(ops):
        inputs = [values.pop(i) if last_use[i] == n else values[i] for i in op.inputs]
        arrays = weights.get(op.path, {})
        x = _OPERATORS[op.kind](op, arrays, *inputs)
        del inputs
        if op.norm:
            mean, var = stats[op.path] if stats is not None else (None, None)
            train = stats is None or momentum is not None
            x = F.batch_norm(
                x, mean, var, arrays["scale"], arrays["shift"], train, momentum or 0.0, EPSILON
            )
        values[n] = _ACTIVATIONS[op.act](x) if op.act else x
    return values[len(ops) - 1]


def recalibrated(ops: Ops, weights: Arrays, images: Tensor, batch: int) -> Stats:
    """Statistics of the images in eval mode's terms; over several batches their cumulative average.

    Variances are biased, as jaxnas has them; PyTorch's own, unbiased, differ by a factor of 1 + 1 /
    (images * height * width).
    """
    stats = {
        op.path: (images.new_zeros(op.c_out), images.new_ones(op.c_out)) for op in ops if op.norm
    }
    for i, part in enumerate(images.split(batch)):
        forward(ops, weights, part, stats, momentum=1 / (i + 1))
    for op in ops:
        if op.norm:
            stats[op.path][1].mul_(1 - 1 / (min(batch, len(images)) * op.height * op.width))
    return stats


@torch.inference_mode()
def accuracy(ops: Ops, shared: Arrays, data: Examples, setting: Setting) -> float:
    """Top-1 accuracy of one subnet of the shared weights: extracted, recalibrated, evaluated."""
    with running(setting):
        weights = extract(shared, ops, setting)
        stats = recalibrated(
            ops,
            weights,
            data.calibration,
            len(data.calibration) if setting.joint_calibration else setting.batch,
        )
        correct = torch.zeros((), dtype=torch.int64, device=DEVICE)
        for images, labels in zip(
            data.images.split(setting.batch), data.labels.split(setting.batch), strict=True
        ):
            correct += (forward(ops, weights, images, stats).argmax(1) == labels).sum()
        return correct.item() / len(data.labels)


@contextmanager
def running(setting: Setting) -> Iterator[None]:
    """Threads and precision of a setting."""
    torch.set_num_threads(setting.threads)
    with torch.autocast(DEVICE, enabled=setting.autocast):
        yield


def sgd(leaves: Sequence[tuple[str, Tensor]], learning_rate: float, weight_decay: float) -> Any:
    """The optimizer of jaxnas, but for its clipping: named tensors, of which kernels decay."""
    groups = [
        {
            "params": [tensor for name, tensor in leaves if name == "kernel"],
            "weight_decay": weight_decay,
        },
        {"params": [tensor for name, tensor in leaves if name != "kernel"], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True, fused=True)


class Trainer:
    """The shared weights under SGD.

    Sandwich rule, in-place distillation, gradients clipped by value.
    """

    def __init__(
        self,
        shared: Arrays,
        setting: Setting,
        learning_rate: float,
        weight_decay: float,
        label_smoothing: float,
    ):
        self.weights = {
            path: {name: t.clone().requires_grad_() for name, t in arrays.items()}
            for path, arrays in shared.items()
        }
        self.setting = setting
        self.label_smoothing = label_smoothing
        leaves = [
            (name, tensor) for arrays in self.weights.values() for name, tensor in arrays.items()
        ]
        self.leaves = [tensor for _, tensor in leaves]
        # The fused optimizer wants a gradient of every weight, also of those that no subnet has
        # used yet.
        for leaf in self.leaves:
            leaf.grad = torch.zeros_like(leaf)
        self.optimizer = sgd(leaves, learning_rate, weight_decay)

    def step(self, sandwich: Sequence[Ops], images: Tensor, labels: Tensor) -> list[float]:
        """One step of networks of which the first, the largest, teaches the others.

        Returns their losses.
        """
        with running(self.setting):
            self.optimizer.zero_grad(set_to_none=False)
            losses = self.backward(sandwich, images, labels)
            torch.nn.utils.clip_grad_value_(self.leaves, 1.0)
            self.optimizer.step()
            return [loss.item() for loss in losses]

    def backward(self, sandwich: Sequence[Ops], images: Tensor, labels: Tensor) -> list[Tensor]:
        """Adds the gradients of every network's loss to those of the shared weights."""
        teacher = None
        losses = []
        for ops in sandwich:
            logits = forward(ops, take(self.weights, ops), images)
            if teacher is None:
                loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
                teacher = logits.detach().softmax(1)
            else:
                loss = F.cross_entropy(logits, teacher)
            loss.backward()
            losses.append(loss.detach())
        return losses


# From (k, k, c_in // groups, c_out) to (c_out, c_in // groups, k, k).
_AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def _tensor(array: Any) -> Tensor:
    return torch.tensor(np.asarray(array), device=DEVICE)


def _copy(tensor: Tensor, setting: Setting) -> Tensor:
    return tensor.clone(
        memory_format=FORMATS[setting.layout] if tensor.ndim == 4 else torch.contiguous_format
    )


def _share(name: str, tensor: Tensor, op: Op) -> Tensor:
    if name in ("scale", "shift", "bias"):
        return tensor[: op.c_out]
    if name != "kernel":
        raise ValueError(f"the peer has no {name}: measure a space without kernel transforms")
    if op.kind == "linear":
        return tensor[:, : op.c_in]
    edge = (tensor.shape[-1] - op.kernel) // 2
    return tensor[
        : op.c_out, : op.c_in // op.groups, edge : edge + op.kernel, edge : edge + op.kernel
    ]


def _conv(op: Op, arrays: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.conv2d(
        x, arrays["kernel"], arrays.get("bias"), op.stride, op.kernel // 2, groups=op.groups
    )


def _sum(x: Tensor, around: Tensor) -> Tensor:
    """In place, unless the gradient of a relu still needs its result."""
    return x + around if "Relu" in type(x.grad_fn).__name__ else x.add_(around)


def _gate(op: Op, arrays: dict[str, Tensor], x: Tensor, gate: Tensor) -> Tensor:
    return x * gate if torch.is_grad_enabled() else x.mul_(gate)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "conv": _conv,
    "linear": lambda op, arrays, x: F.linear(x.flatten(1), arrays["kernel"], arrays.get("bias")),
    "pool": lambda op, arrays, x: F.adaptive_avg_pool2d(x, 1),
    "avgpool2": lambda op, arrays, x: F.avg_pool2d(x, 2, 2, padding=x.shape[-1] % 2),
    "mul": _gate,
    "add": lambda op, arrays, x, around: _sum(x, around),
}


def _activation(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """In place but in training: there PyTorch would copy what its gradient needs."""
    return lambda x: function(x, inplace=not torch.is_grad_enabled())


_ACTIVATIONS = {
    "relu": _activation(F.relu),
    "relu6": _activation(F.relu6),
    "swish": _activation(F.silu),
    "hard_swish": _activation(F.hardswish),
    "hard_sigmoid": _activation(F.hardsigmoid),
}
