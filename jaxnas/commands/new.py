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
    space="small",  # which networks: `jaxnas list spaces`
    # latency_limit_ms=3.0,  # the most that a network may take
    data=DataConfig(
        source="cluttered_digits",  # or folder:PATH, npz:PATH: `jaxnas list sources`
        search_images=600,  # of the training images, for the search to evaluate networks on
    ),
    train=TrainConfig(
        epochs=6,  # of the supernet; more pay as long as the loss falls
        warmup_epochs=1,
        batch_size=64,
        random_subnets=1,  # trained in each step beside the largest and the smallest
    ),
    profile=ProfileConfig(
        device="onnxruntime",  # this machine: `jaxnas list devices`, `jaxnas doctor`
        train=120,  # networks measured for the latency predictor to learn from
        validation=40,
        test=40,
        seconds=0.04,  # of each measurement
    ),
    search=SearchConfig(
        algorithm="nsga2",  # `jaxnas list algorithms`
        objectives=("error", "latency_ms"),  # up to four: `jaxnas list objectives`
        population=28,
        generations=14,
    ),
    finetune=FinetuneConfig(
        epochs=5,  # of each network chosen
        within_points=40,  # of accuracy that the fastest may lie below the most accurate
    ),
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
