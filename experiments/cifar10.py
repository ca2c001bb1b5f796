"""Question: how far does a supernet of other images get on CIFAR-10, each candidate fine-tuned
before it is ranked?

The method of "Automated design of neural networks with respect to latency for edge accelerators": a
supernet trained on another data set (CIFAR-100 here, ImageNet there), candidates that inherit its
weights and are fine-tuned (hybrid: an epoch of the whole network, then the classifier alone on
cached features) on a share of the images, NSGA-II with a latency predictor, and five more epochs on
all the images for three networks of the final front.

Command: jaxnas run experiments/cifar10.py --data-dir ~/tensorflow_datasets   (two CPU cores)
         jaxnas run experiments/cifar10.py:paper --data-dir ~/tensorflow_datasets   (a data-centre
         GPU)
"""

from dataclasses import replace

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig
from jaxnas.training.population import HybridConfig

config = Config(
    name="cifar10",
    space="residual",
    weights="residual_cifar100",
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(epochs=0),
    profile=ProfileConfig(train=260, validation=70, test=70),
    search=SearchConfig(
        population=28,
        generations=6,
        images=2000,
        hybrid=HybridConfig(epochs=1, head_epochs=5, share=1 / 24),
    ),
    finetune=FinetuneConfig(epochs=5, learning_rate=0.05, weight_decay=5e-5, label_smoothing=0.0),
)
paper = replace(
    config,
    name="cifar10_paper",
    search=SearchConfig(
        population=28,
        generations=50,
        images=5000,
        hybrid=HybridConfig(epochs=1, head_epochs=5, share=1 / 3),
    ),
)
