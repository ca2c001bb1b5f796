"""Question: what do the supernets that come with jaxnas know?

They are trained on CIFAR-100, for other images to start from: `--weights tiny_cifar100`, `--weights residual_cifar100`.

Commands: jaxnas data experiments/tiny_cifar100.py --data-dir ~/tensorflow_datasets   (or ...py:residual; on a GPU ...py:cifar)
          jaxnas train runs/tiny_cifar100
          cp runs/tiny_cifar100/supernet.npz jaxnas/supernets/shipped/tiny_cifar100.npz
"""

from dataclasses import replace

from jaxnas.config import Config, DataConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.loop import TrainConfig

config = Config(
    name="tiny_cifar100",
    space="tiny",
    data=DataConfig(
        source="tfds:cifar100",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(
        epochs=6, batch_size=64, random_subnets=1, learning_rate=0.06, warmup_epochs=1, weight_decay=5e-5, label_smoothing=0.0
    ),
)
residual = replace(config, name="residual_cifar100", space="residual")
cifar = replace(
    config,
    name="cifar_cifar100",
    space="cifar",
    train=replace(config.train, epochs=30, batch_size=512, random_subnets=2, learning_rate=0.25, warmup_epochs=2),
)
