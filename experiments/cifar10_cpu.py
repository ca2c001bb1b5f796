"""Question: how far do two CPU cores get on real CIFAR-10, from images to measured networks, within
two hours?

Command: jaxnas run experiments/cifar10_cpu.py --data-dir ~/tensorflow_datasets
Time: 84 minutes on two cores shared with other work.
Result: 76.1 % on the test split at 0.095 ms, 73.4 % at 0.062 ms (README.md has the table).
"""

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="cifar10_cpu",
    space="tiny",
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(
        epochs=12,
        batch_size=64,
        random_subnets=1,
        learning_rate=0.06,
        warmup_epochs=1,
        weight_decay=5e-5,
        label_smoothing=0.0,
    ),
    profile=ProfileConfig(train=260, validation=70, test=70),
    search=SearchConfig(population=28, generations=50, images=800),
    finetune=FinetuneConfig(
        epochs=5, batch_size=64, learning_rate=0.05, weight_decay=5e-5, label_smoothing=0.0
    ),
)
