"""SqueezeNet's space, and fire modules for small images."""

from jaxnas.spaces.fire import fire_space
from jaxnas.spaces.fire_structure import Fire, FireStage
from jaxnas.spaces.space import Space

EITHER = (0, 1)  # without and with a shortcut


def squeezenet(channels: int = 3, classes: int = 1000) -> Space:
    """SqueezeNet 1.1 (1,235,496 parameters, 0.35 G multiply-adds at 224 pixels) and its neighbours.

    Squeezes and 3x3 expands of half, once and one and a half times its own, 1x1 expands and a stem
    of half and once; a module fewer or more in each stage; the simple bypass or none. There is no
    batch norm, as published.
    """
    stages = (
        FireStage((8, 16, 24), (32, 64), (32, 64, 96), (1, 2, 3), True, EITHER),
        FireStage((16, 32, 48), (64, 128), (64, 128, 192), (1, 2, 3), True, EITHER),
        FireStage((24, 48, 72), (96, 192), (96, 192, 288), (1, 2, 3), True, EITHER),
        FireStage((32, 64, 96), (128, 256), (128, 256, 384), (1, 2, 3), False, EITHER),
    )
    net = Fire(
        (160, 192, 224),
        (32, 64),
        2,
        stages,
        channels,
        classes,
        first_padding="valid",
        norm=False,
        head="conv",
    )
    return fire_space("squeezenet", net)


def fire_cifar(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """Fire modules with batch norm; one resolution, the images' own."""
    stages = (
        FireStage((8, 16), (16, 32), (16, 32, 48), (1, 2), False, EITHER),
        FireStage((16, 32), (32, 64), (32, 64, 96), (1, 2), True, EITHER),
        FireStage((24, 48), (48, 96), (48, 96, 144), (1, 2, 3), True, EITHER),
    )
    return fire_space("fire_cifar", Fire((image_size,), (32,), 1, stages, channels, classes))
