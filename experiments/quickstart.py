"""Question: does a hardware-aware search show the trade-off of accuracy and latency, on this
machine, in minutes?

Command: jaxnas run experiments/quickstart.py
Time: 3 minutes on two quiet cores, installation and compilation included; 1 minute when run
again.
Result: the most accurate network is 20 points better than the fastest and takes 2.9 times as long
(README.md has the table).
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
    finetune=FinetuneConfig(epochs=5, within_points=40),
)
