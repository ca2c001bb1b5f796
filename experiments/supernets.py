"""Question: what do the supernets that come with jaxnas know?

They are trained on CIFAR-100 or CIFAR-10, for other images to start from: `--weights
tiny_cifar100`, for one.

Commands: jaxnas data experiments/supernets.py:residual_cifar10 --data-dir
          ~/tensorflow_datasets   (or one of the others below)
          jaxnas train runs/residual_cifar10
          cp runs/residual_cifar10/supernet.safetensors \\
             jaxnas/weights/shipped/residual_cifar10.safetensors
"""

from dataclasses import replace

from jaxnas.config import Config, DataConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.method import TrainConfig

tiny_cifar100 = Config(
    name="tiny_cifar100",
    space="tiny",
    data=DataConfig(
        source="tfds:cifar100",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(
        epochs=6,
        batch_size=64,
        random_subnets=1,
        learning_rate=0.06,
        warmup_epochs=1,
        weight_decay=5e-5,
        label_smoothing=0.0,
    ),
)
residual_cifar100 = replace(tiny_cifar100, name="residual_cifar100", space="residual")
residual_cifar10 = replace(
    residual_cifar100,
    name="residual_cifar10",
    data=replace(residual_cifar100.data, source="tfds:cifar10"),
)
cifar_cifar100 = replace(  # on a GPU; not shipped yet
    tiny_cifar100,
    name="cifar_cifar100",
    space="cifar",
    train=replace(
        tiny_cifar100.train,
        epochs=30,
        batch_size=512,
        random_subnets=2,
        learning_rate=0.25,
        warmup_epochs=2,
    ),
)
