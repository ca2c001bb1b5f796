"""Training settings as published, all for ImageNet.

SGD with Nesterov momentum 0.9 and label smoothing 0.1.

Of AttentiveNAS and AlphaNet three things are not part of them: AutoAugment and RandomResizedCrop,
which `Augmentation` does not have (it shifts and mirrors, and has RandAugment); and a resolution of
its own for each subnet of a step, the highest for the largest and the lowest for the smallest (here
all subnets of a step share one, and steps take turns). Of Once-for-All: its distortion of colours
and RandomResizedCrop; and a resolution drawn anew for each batch (here, too, they take turns).
"""

from dataclasses import replace

from jaxnas.training.method import TrainConfig
from jaxnas.training.shrinking import PHASES


def attentive_nas(batch_size: int = 2048) -> TrainConfig:
    """AttentiveNAS with BestUp-3 (Wang et al., CVPR 2021): 64 GPUs x 32 images.

    Learning rate 0.1 for every whole 256 images.
    """
    return TrainConfig(
        method="best_up",
        epochs=360,
        batch_size=batch_size,
        random_subnets=2,
        candidates=3,
        learning_rate=0.1 * max(1, batch_size // 256),
        warmup_epochs=5,
        weight_decay=1e-5,
        dropout=0.2,
        drop_connect=0.2,
    )


def alphanet(batch_size: int = 2048) -> TrainConfig:
    """AlphaNet (Wang et al., ICML 2021).

    AttentiveNAS's settings, uniform sampling, the adaptive alpha-divergence.
    """
    return replace(attentive_nas(batch_size), method="alphanet")


def ofa(batch_size: int = 2048) -> TrainConfig:
    """OFA's MobileNetV3 (Cai et al., ICLR 2020): 32 GPUs x 64 images.

    The learning rate is proportional to the batch.
    """
    return TrainConfig(
        method="ofa",
        epochs=int(sum(phase.epochs for phase in PHASES)),
        batch_size=batch_size,
        learning_rate=PHASES[0].learning_rate * batch_size / 64,
        weight_decay=3e-5,
        dropout=0.1,
    )
