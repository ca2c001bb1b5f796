"""`jaxnas new`: an experiment to begin with, in a file of one's own."""

from pathlib import Path

from jaxnas.errors import UserError
from jaxnas.records.whole import write_whole

EXPERIMENT = '''\
"""My search. `jaxnas run {name}` runs it; `jaxnas run {name} --help` lists all settings.

`jaxnas list` names what may stand for spaces, devices, algorithms and more.
"""

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

config = Config(
    name="{stem}",  # the run directory: runs/{stem}
    space="tiny",  # which networks: `jaxnas list spaces`
    # latency_limit_ms=3.0,  # the most that a network may take
    data=DataConfig(
        source="digits",  # or npz:PATH, tfds:cifar10: `jaxnas list sources`
        search_images=400,  # of the training images, for the search to evaluate networks on
    ),
    train=TrainConfig(
        epochs=30,  # of the supernet; more pay as long as the loss falls
        batch_size=64,
        random_subnets=2,
    ),
    profile=ProfileConfig(
        device="onnxruntime",  # this machine: `jaxnas list devices`, `jaxnas doctor`
        train=160,  # networks measured for the latency predictor to learn from
        seconds=0.05,  # of each measurement
    ),
    search=SearchConfig(
        algorithm="nsga2",  # `jaxnas list algorithms`
        objectives=("error", "latency_ms"),  # up to four: `jaxnas list objectives`
        population=28,
        generations=50,
    ),
    finetune=FinetuneConfig(epochs=10),  # of each network chosen
)
'''


def run_new(path: str) -> None:
    """Write a commented experiment; a file that is there is not replaced."""
    file = Path(path)
    if file.suffix != ".py":
        raise UserError(f"an experiment is a Python file, got {path!r}: name it as my.py")
    if file.exists():
        raise UserError(f"{path} is there already: choose another name")
    try:
        write_whole(file, EXPERIMENT.format(name=path, stem=file.stem).encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another name") from error
    print(f"{path} is written: jaxnas run {path}")
