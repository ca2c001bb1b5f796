"""Question: how well do 31-32-16-1 perceptrons know this machine's latency over the `cifar` space,
from at most 400 measured networks?

The supernet is not trained (no epochs): latency depends on sizes, not on weights. 260 networks that
cover the space train them, 70 drawn uniformly stop its training, 70 more are only ever reported:
`test` in predictor.json.

Commands: jaxnas data experiments/predictor.py --data-dir ~/tensorflow_datasets
          jaxnas train runs/predictor
          jaxnas profile runs/predictor
          jaxnas predict runs/predictor
"""

from jaxnas.config import Config, DataConfig, ProfileConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="predictor",
    space="cifar",
    data=DataConfig(source="tfds:cifar10", data_dir="~/tensorflow_datasets"),
    train=TrainConfig(epochs=0),
    profile=ProfileConfig(train=260, validation=70, test=70),
)
