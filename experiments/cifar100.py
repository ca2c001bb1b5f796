"""Question: how far does a supernet of CIFAR-10 get on CIFAR-100, each candidate fine-tuned before
it is ranked?

experiments/cifar10.py the other way round. There are ten times as many classes, so that the
classifier, which is fresh, needs a higher rate and more epochs to tell candidates apart; on two
cores a class has 19 images.

Command: jaxnas run experiments/cifar100.py --data-dir ~/tensorflow_datasets   (two CPU cores;
         cifar100.py:paper for a GPU)
"""

from dataclasses import replace
from pathlib import Path

from jaxnas.config import Config
from jaxnas.experiment import load_config

CIFAR10 = Path(__file__).with_name("cifar10.py")

cifar10 = load_config(str(CIFAR10))
cifar10_paper = load_config(f"{CIFAR10}:paper")
data = replace(cifar10.data, source="tfds:cifar100")


def adapted(config: Config, name: str) -> Config:
    """The same search with a classifier that learns in its epochs.

    Evaluated on more images, since candidates are closer together.
    """
    hybrid = replace(config.search.hybrid, head_epochs=20, learning_rate=0.1)
    return replace(
        config,
        name=name,
        weights="residual_cifar10",
        data=data,
        search=replace(config.search, images=5000, hybrid=hybrid),
    )


config = adapted(cifar10, "cifar100")
paper = adapted(cifar10_paper, "cifar100_paper")
