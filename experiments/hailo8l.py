"""Question: which networks does the search find for a Hailo-8L, as its model knows it?

At 32 pixels that chip is bound by its input and tells no networks apart, and squeeze-excite and swish lie outside what the model was
fitted to: the space is `cifar_hailo`, `cifar`'s stages without them, on images enlarged to 120 pixels and more. Networks that do not fit
as a whole have no latency (`hailo8l_model:single`). A data-centre GPU is needed: at 120 pixels a network computes fourteen times as much.

Command: jaxnas run experiments/hailo8l.py --data-dir ~/tensorflow_datasets
"""

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.loop import TrainConfig

config = Config(
    name="hailo8l",
    space="cifar_hailo",
    data=DataConfig(
        source="tfds:cifar10", data_dir="~/tensorflow_datasets", search_images=5000, augmentation=Augmentation(crop=4, flip=True)
    ),
    train=TrainConfig(epochs=30),
    profile=ProfileConfig(device="hailo8l_model:single", rounds=1),
    search=SearchConfig(population=28, generations=50),
    finetune=FinetuneConfig(epochs=5, learning_rate=0.05, weight_decay=5e-5, label_smoothing=0.0),
)
