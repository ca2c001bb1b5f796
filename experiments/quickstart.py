"""Question: does a hardware-aware search find better networks than chance, on this machine, in
minutes?

Command: jaxnas run experiments/quickstart.py
Time: 6 minutes on two shared cores, compilation included.
Result: 12 % more hypervolume than random sampling of as many networks (README.md has the table).
"""

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="quickstart",
    space="tiny",
    data=DataConfig(source="digits", search_images=400),
    train=TrainConfig(epochs=30, batch_size=64, random_subnets=2, checkpoint_every=100),
    profile=ProfileConfig(train=160, validation=50, test=50, seconds=0.05),
    search=SearchConfig(population=28, generations=50),
    finetune=FinetuneConfig(epochs=10),
)
