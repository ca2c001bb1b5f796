"""Question: how far does a supernet of CIFAR-10 get on CIFAR-100, each candidate fine-tuned before it is ranked?

experiments/cifar10.py the other way round: the classifier is fresh, for there are ten times as many classes.

Command: jaxnas run experiments/cifar100.py --data-dir ~/tensorflow_datasets   (after `jaxnas data` and `jaxnas train` of
             experiments/tiny_cifar100.py with --data.source tfds:cifar10 --out runs/cifar10_supernet)
"""

from dataclasses import replace

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.loop import TrainConfig
from jaxnas.training.population import HybridConfig

config = Config(
    name="cifar100",
    space="tiny",
    weights="runs/cifar10_supernet/supernet.npz",
    data=DataConfig(
        source="tfds:cifar100",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(epochs=0),
    profile=ProfileConfig(train=260, validation=70, test=70),
    search=SearchConfig(population=28, generations=10, images=2000, hybrid=HybridConfig(epochs=1, head_epochs=5, share=1 / 12)),
    finetune=FinetuneConfig(epochs=5, learning_rate=0.05, weight_decay=5e-5, label_smoothing=0.0),
)
paper = replace(
    config,
    name="cifar100_paper",
    space="cifar",
    weights="runs/cifar10_supernet_paper/supernet.npz",
    search=SearchConfig(population=28, generations=50, images=5000, hybrid=HybridConfig(epochs=1, head_epochs=5, share=1 / 3)),
)
