"""Question: which networks does the search find for a Hailo-8L, as its model knows it?

At 32 pixels that chip is bound by its input and tells no networks apart, and squeeze-excite and
swish lie outside what the model was fitted to: the spaces have neither, and images are enlarged to
120 pixels and more, at which a network computes fourteen times as much. `paper` searches
`cifar_hailo`, the stages of `cifar`; two CPU cores search hailo8l.toml, networks a fortieth as
large. Those that do not fit as a whole have no latency (`hailo8l_model:single`).

Command: jaxnas run experiments/hailo8l.py --data-dir ~/tensorflow_datasets   (two CPU cores)
         jaxnas run experiments/hailo8l.py:paper --data-dir ~/tensorflow_datasets   (a data-centre
         GPU)
"""

from dataclasses import replace
from pathlib import Path

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="hailo8l",
    space=str(Path(__file__).with_name("hailo8l.toml")),
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(epochs=2, random_subnets=1, warmup_epochs=0.2, checkpoint_every=200),
    profile=ProfileConfig(device="hailo8l_model:single", rounds=1),
    search=SearchConfig(population=28, generations=8),
    finetune=FinetuneConfig(epochs=1, learning_rate=0.05, weight_decay=5e-5, label_smoothing=0.0),
)
paper = replace(
    config,
    name="hailo8l_paper",
    space="cifar_hailo",
    train=TrainConfig(epochs=30),
    search=SearchConfig(population=28, generations=50),
    finetune=replace(config.finetune, epochs=5),
)
