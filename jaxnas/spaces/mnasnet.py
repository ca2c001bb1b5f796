"""MnasNet's space, and the same kind of space for small images."""

from dataclasses import replace

from jaxnas.networks.sizes import make_divisible
from jaxnas.spaces.hierarchical import hierarchical_space
from jaxnas.spaces.hierarchical_structure import Hierarchical, HierarchicalStage
from jaxnas.spaces.space import Space

A1 = (  # width, depth and stride of MnasNet-A1's stages
    (16, 1, 1),
    (24, 2, 2),
    (40, 3, 2),
    (80, 4, 2),
    (112, 2, 1),
    (160, 3, 2),
    (320, 1, 1),
)


def mnasnet(channels: int = 3, classes: int = 1000) -> Space:
    """MnasNet-A1 (3,887,038 parameters, 312 M multiply-adds) and its neighbours, at 224 pixels.

    As in the paper each stage has 0.75, 1 or 1.25 times the width and up to a layer fewer or more;
    fused blocks are an operator besides, and no shortcut is a pool.
    """
    stages = tuple(_stage(*stage) for stage in A1)
    net = Hierarchical((224,), (32,), 2, stages, (1280,), channels, classes)
    return hierarchical_space("mnasnet", net)


def mnasnet_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """MnasNet's choices in five stages for 32 pixels, with one expand ratio, 4.

    One resolution, the images' own.
    """
    base = ((16, 1, 1), (24, 2, 2), (40, 2, 2), (64, 2, 1), (96, 1, 2))
    stages = tuple(replace(_stage(*stage), expands=(4,)) for stage in base)
    net = Hierarchical((image_size,), (16,), 1, stages, (256, 384), channels, classes)
    return hierarchical_space("mnasnet_cifar", net)


def _stage(width: int, depth: int, stride: int) -> HierarchicalStage:
    """The choices around one stage."""
    widths = tuple(sorted({make_divisible(width * quarters // 4) for quarters in (3, 4, 5)}))
    depths = tuple(range(max(depth - 1, 1), depth + 2))
    return HierarchicalStage(widths, depths, stride=stride)
