"""The peer of `generation.py`.

One candidate fine-tuned by the hybrid schedule in plain eager PyTorch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from supernet_torch import (
    DEVICE,
    Arrays,
    Examples,
    Ops,
    Setting,
    extract,
    forward,
    recalibrated,
    running,
    sgd,
)
from torch import Tensor  # pyright: ignore[reportMissingImports]

from jaxnas.training.population import HybridConfig


def tuned_accuracy(
    ops: Ops,
    shared: Arrays,
    train: tuple[Tensor, Tensor],
    data: Examples,
    orders: tuple[Any, Any],
    hybrid: HybridConfig,
    setting: Setting,
) -> float:
    """Top-1 accuracy of one subnet after its training.

    The whole network over the rows of the first order, then the classifier.
    """
    weights = extract(shared, ops, setting)
    (images, labels) = train
    loss = partial(F.cross_entropy, label_smoothing=hybrid.label_smoothing)
    with running(setting):
        leaves = [(name, tensor) for arrays in weights.values() for name, tensor in arrays.items()]
        _descend(
            leaves,
            orders[0],
            hybrid,
            lambda rows: loss(forward(ops, weights, images[rows]), labels[rows]),
        )
        with torch.no_grad():
            stats = recalibrated(
                ops,
                weights,
                data.calibration,
                len(data.calibration) if setting.joint_calibration else setting.batch,
            )
            seen, asked = (
                torch.cat(
                    [
                        forward(ops[:-1], weights, part, stats).flatten(1)
                        for part in some.split(setting.batch)
                    ]
                )
                for some in (images, data.images)
            )
        head = weights[ops[-1].path]
        _descend(
            list(head.items()),
            orders[1],
            hybrid,
            lambda rows: loss(_classify(head, seen[rows]), labels[rows]),
        )
        with torch.inference_mode():
            return (_classify(head, asked).argmax(1) == data.labels).float().mean().item()


def _descend(
    leaves: list[tuple[str, Tensor]],
    order: Any,
    hybrid: HybridConfig,
    loss: Callable[[Tensor], Tensor],
) -> None:
    """SGD over the rows of every step, with a cosine from its learning rate to 0.

    Then the leaves are plain tensors again.
    """
    tensors = [tensor.requires_grad_() for _, tensor in leaves]
    optimizer = sgd(leaves, hybrid.learning_rate, hybrid.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(len(order), 1))
    for rows in torch.tensor(order, device=DEVICE).long():
        optimizer.zero_grad()
        loss(rows).backward()
        torch.nn.utils.clip_grad_value_(tensors, 1.0)
        optimizer.step()
        schedule.step()
    for tensor in tensors:
        tensor.requires_grad_(False)


def _classify(head: dict[str, Tensor], features: Tensor) -> Tensor:
    return F.linear(features, head["kernel"], head["bias"])
