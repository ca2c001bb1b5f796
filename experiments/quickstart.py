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
    space="small",
    data=DataConfig(source="cluttered_digits", search_images=600),
    train=TrainConfig(epochs=6, batch_size=64, random_subnets=1, warmup_epochs=1),
    profile=ProfileConfig(train=120, validation=40, test=40, seconds=0.04),
    search=SearchConfig(population=28, generations=14),
    finetune=FinetuneConfig(epochs=5, within_points=30),
)
