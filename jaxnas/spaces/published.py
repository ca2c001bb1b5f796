"""Spaces by name.

Those of the papers, exactly, the same with strides for small images, and small ones of our own.
"""

from dataclasses import replace
from functools import partial

from jaxnas.spaces.mobilenet import MobileNet, Stage, make_divisible, mobilenet_space
from jaxnas.spaces.residual import residual_space
from jaxnas.spaces.residual_structure import Residual, ResidualStage
from jaxnas.spaces.space import Space


def attentive_nas(channels: int = 3, classes: int = 1000) -> Space:
    """The published space of AttentiveNAS and AlphaNet, exactly.

    203 to 1,939 MMACs, 440,301,256,704 networks.
    """
    return mobilenet_space(
        "attentive_nas",
        MobileNet(
            (192, 224, 256, 288),
            (16, 24),
            2,
            _attentive_nas_stages(),
            (1792, 1984),
            channels,
            classes,
        ),
    )


def attentive_nas_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """AttentiveNAS's widths, depths, kernels and expands.

    With strides for 32 pixels (8 in all in place of 32).
    """
    stages = _attentive_nas_stages((1, 2, 1, 2, 1, 2, 1))
    sizes = tuple(image_size * eighths // 8 for eighths in (6, 7, 8, 9))
    return mobilenet_space(
        "attentive_nas_cifar",
        MobileNet(sizes, (16, 24), 1, stages, (1792, 1984), channels, classes),
    )


def _attentive_nas_stages(strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)) -> tuple[Stage, ...]:
    kernels = (3, 5)
    expands = (4, 5, 6)
    return (
        Stage((16, 24), (1, 2), kernels, (1,), strides[0]),
        Stage((24, 32), (3, 4, 5), kernels, expands, strides[1]),
        Stage((32, 40), (3, 4, 5, 6), kernels, expands, strides[2], squeeze_excite=True),
        Stage((64, 72), (3, 4, 5, 6), kernels, expands, strides[3]),
        Stage(
            (112, 120, 128), (3, 4, 5, 6, 7, 8), kernels, expands, strides[4], squeeze_excite=True
        ),
        Stage(
            (192, 200, 208, 216), (3, 4, 5, 6, 7, 8), kernels, (6,), strides[5], squeeze_excite=True
        ),
        Stage((216, 224), (1, 2), kernels, (6,), strides[6], squeeze_excite=True),
    )


def ofa_mobilenet_v3(
    channels: int = 3,
    classes: int = 1000,
    width: float = 1.0,
    resolutions: tuple[int, ...] = (160, 176, 192, 208, 224),
) -> Space:
    """The published space of Once-for-All, 7,371^5 networks per resolution.

    `width` is 1.0 or 1.2, as the published weights are.
    """
    return mobilenet_space(
        "ofa_mobilenet_v3", _ofa(resolutions, channels, classes, 2, (1, 2, 2, 2, 1, 2), width)
    )


def ofa_mobilenet_v3_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """Once-for-All's space with strides for 32 pixels (8 in all in place of 32)."""
    sizes = tuple(image_size * eighths // 8 for eighths in (6, 7, 8))
    return mobilenet_space(
        "ofa_mobilenet_v3_cifar", _ofa(sizes, channels, classes, 1, (1, 1, 2, 2, 1, 2), 1.0)
    )


def _ofa(
    resolutions: tuple[int, ...],
    channels: int,
    classes: int,
    first_stride: int,
    strides: tuple[int, ...],
    multiplier: float,
) -> MobileNet:
    first, *widths, last = (
        make_divisible(int(multiplier * width + 0.5))
        for width in (16, 16, 24, 40, 80, 112, 160, 1280)
    )
    rest = (
        ("relu", False),
        ("relu", True),
        ("hard_swish", False),
        ("hard_swish", True),
        ("hard_swish", True),
    )
    fixed = Stage((widths[0],), (1,), (3,), (1,), strides[0], activation="relu")
    elastic = (
        Stage((width,), (2, 3, 4), (3, 5, 7), (3, 4, 6), stride, squeeze_excite, activation)
        for width, stride, (activation, squeeze_excite) in zip(
            widths[1:], strides[1:], rest, strict=True
        )
    )
    return MobileNet(
        resolutions,
        (first,),
        first_stride,
        (fixed, *elastic),
        (last,),
        channels,
        classes,
        activation="hard_swish",
        shortcut="identity",
        per_block=True,
        kernel_transform=True,
    )


def tiny(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 0.3 to 3 MMACs at 32 pixels; one resolution, the images' own."""
    stages = (
        Stage((8, 16), (1,), (3, 5), (1,), 1, False),
        Stage((8, 16), (1, 2), (3, 5), (2, 3), 2, False),
        Stage((16, 24), (1, 2), (3, 5), (2, 3, 4), 1, True),
        Stage((16, 24, 32), (1, 2, 3), (3, 5), (2, 3, 4), 2, False),
        Stage((16, 24, 32), (1, 2, 3), (3, 5), (2, 3, 4), 1, True),
        Stage((24, 32), (1, 2, 3), (3, 5), (3,), 1, True),
        Stage((24, 32), (1,), (3, 5), (3,), 1, True),
    )
    return mobilenet_space(
        "tiny", MobileNet((image_size,), (8, 16), 2, stages, (64, 96), channels, classes)
    )


def small(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 0.2 to 6 MMACs at 32 pixels; one resolution, the images' own.

    Ordinary convolutions in few blocks: a CPU trains its supernet in a minute.
    """
    fused = partial(
        ResidualStage, depths=(1, 2), kernels=(3,), expands=(1, 2, 3), stride=2, block="fused"
    )
    stages = (
        ResidualStage((8, 16), (1, 2), (3,), (1,), 1, "single"),
        fused((8, 16, 24, 32)),
        fused((16, 32, 48, 64)),
    )
    net = Residual(
        (image_size,),
        (8, 16),
        2,
        stages,
        (64, 96, 128),
        channels,
        classes,
        shortcut="pool",
        prefix="mb",
    )
    return residual_space("small", net)


def residual(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 2 to 37 MMACs at 32 pixels; one resolution, the images' own.

    Ordinary convolutions, as processors like them.

    A convolution with a way around it, as in ResNets (He et al. 2016), then fused inverted
    residuals (Tan & Le, "EfficientNetV2", 2021).
    """
    fused = partial(
        ResidualStage, depths=(1, 2, 3), kernels=(3,), expands=(1, 2, 3), stride=2, block="fused"
    )
    stages = (
        ResidualStage((24, 32), (1, 2, 3), (3,), (1,), 2, "single"),
        fused((40, 48, 64)),
        fused((64, 80, 96)),
    )
    net = Residual(
        (image_size,),
        (16, 24, 32),
        1,
        stages,
        (128, 192, 256),
        channels,
        classes,
        shortcut="pool",
        prefix="mb",  # as its shipped weights have it
    )
    return residual_space("residual", net)


def resnet(channels: int = 3, classes: int = 1000) -> Space:
    """ResNet-34 and ResNet-50 (He et al. 2016) and the networks below them, at 128 to 224 pixels.

    Two stages of basic blocks, two of bottlenecks; half of the published widths and depths, or all.
    """
    stages = (
        ResidualStage((32, 64), (1, 2, 3), (3,), (1,), 1, "basic"),
        ResidualStage((64, 128), (2, 3, 4), (3,), (1,), 2, "basic"),
        ResidualStage((512, 1024), (3, 4, 6), (3,), (1, 2), 2, "bottleneck"),
        ResidualStage((1024, 2048), (2, 3), (3,), (1, 2), 2, "bottleneck"),
    )
    sizes = (128, 160, 192, 224)
    net = Residual(
        sizes, (32, 64), 2, stages, (), channels, classes, first_kernel=7, first_pool=True
    )
    return residual_space("resnet", net)


def resnext_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """Bottlenecks whose 3x3 convolutions have eight groups (Xie et al. 2017), for small images."""
    grouped = partial(
        ResidualStage, depths=(1, 2, 3), kernels=(3,), expands=(1, 2), block="bottleneck", groups=8
    )
    stages = (
        grouped((64, 96, 128), stride=1),
        grouped((128, 192, 256), stride=2),
        grouped((256, 384, 512), stride=2),
    )
    net = Residual((image_size,), (16, 32), 1, stages, (), channels, classes)
    return residual_space("resnext_cifar", net)


def cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """About 6 to 70 MMACs at 32 pixels.

    Two resolutions, three quarters of the images' own and the whole.
    """
    sizes = (3 * image_size // 4, image_size)
    return mobilenet_space(
        "cifar", MobileNet(sizes, (16, 24), 1, _cifar_stages(), (448, 512), channels, classes)
    )


def cifar_hailo(channels: int = 3, classes: int = 10) -> Space:
    """`cifar` as the model of the Hailo-8L knows networks.

    ReLU6, no squeeze-excite, images enlarged to 120 or 144 pixels.

    All but its parameters, 0.7 to 1.5 million, lies within what that model was fitted to (1.2
    million and more).
    """
    stages = tuple(
        replace(stage, squeeze_excite=False, activation="relu6") for stage in _cifar_stages()
    )
    return mobilenet_space(
        "cifar_hailo",
        MobileNet((120, 144), (16, 24), 1, stages, (448, 512), channels, classes, "relu6"),
    )


def _cifar_stages() -> tuple[Stage, ...]:
    return (
        Stage((16, 24), (1, 2), (3, 5), (1,), 1, False),
        Stage((16, 24), (1, 2, 3), (3, 5), (3, 4, 5), 2, False),
        Stage((24, 32), (2, 3, 4), (3, 5), (3, 4, 5), 1, True),
        Stage((40, 48), (2, 3, 4), (3, 5), (3, 4, 5), 2, False),
        Stage((56, 64, 72), (2, 3, 4), (3, 5), (3, 4, 5), 1, True),
        Stage((80, 88, 96, 104), (2, 3, 4), (3, 5), (6,), 2, True),
        Stage((104, 112), (1, 2), (3, 5), (6,), 1, True),
    )
