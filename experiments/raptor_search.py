"""Question: which networks does the search find on Raptor's backbone, for a chip whose memory is
small?

The one-shot space on the backbone of progressive scaling (Castagnetti et al.), with strides for 32
pixels, on `raptor_small`: the simulated TinyRAPTOR with its memory scaled so that at 32 pixels
those blocks spill that spill at 160. experiments/raptor_table3.py compares what it finds with
MobileNetV2. `--data.source npz:FILE` for other images, 64 pixels too.

Command: jaxnas run experiments/raptor_search.py --data-dir ~/tensorflow_datasets
"""

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="raptor_search",
    space="raptor_cifar",
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(epochs=2),
    profile=ProfileConfig(device="raptor_small", rounds=1),
    search=SearchConfig(population=28, generations=20, images=1000),
    finetune=FinetuneConfig(epochs=3, learning_rate=0.1, weight_decay=5e-5, label_smoothing=0.0),
)
