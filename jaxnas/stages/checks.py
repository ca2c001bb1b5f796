"""What can be known to be wrong with the settings before hours are spent on them, or a file is written."""

from functools import reduce

from jaxnas.config import DATASETS, SUPERNETS, Config, make_algorithm, make_device, make_memory_chip, make_space
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError, choose
from jaxnas.export.lint import TARGETS
from jaxnas.hardware.npu import Modelled
from jaxnas.search.indicators import CELLS
from jaxnas.spaces.space import Space
from jaxnas.stages.evaluation import FURTHER
from jaxnas.supernets import initial
from jaxnas.training.loop import METHODS, PRECISIONS
from jaxnas.training.parallel import check_divides, data_mesh
from jaxnas.training.population import QUARTER

MOST = 2  # objectives beside error and latency
CANDIDATES = int(CELLS**0.5)  # of a search for four objectives: what their hypervolume takes
LEAST = {
    "train.epochs": 0,
    "train.batch_size": 1,
    "train.random_subnets": 1,
    "train.candidates": 1,
    "train.accumulate": 1,
    "train.checkpoint_every": 1,
    "profile.train": 2,
    "profile.validation": 2,
    "profile.test": 2,
    "profile.rounds": 1,
    "profile.more_rounds": 0,
    "predict.steps": 1,
    "search.population": 2,
    "search.generations": 1,
    "search.images": 1,
    "search.look_ups": 0,
    "search.hybrid.epochs": 0,
    "search.hybrid.head_epochs": 0,
    "search.hybrid.halvings": 0,
    "search.hybrid.batch_size": 1,
    "finetune.epochs": 0,
    "finetune.batch_size": 1,
    "finetune.within_points": 0,
    "export.calibration_images": 1,
}


def check_settings(config: Config) -> None:
    """Refuses names that nobody knows and numbers that make no sense, whatever the data."""
    for name, least in LEAST.items():
        value = _setting(config, name)
        if not value >= least:
            raise UserError(f"{name} must be at least {least}, got {value}: choose a larger one")
    if config.latency_limit_ms is not None and not config.latency_limit_ms > 0:
        raise UserError(f"latency_limit_ms must be above 0, got {config.latency_limit_ms}: raise it, or leave it away")
    for name in ("train.dropout", "train.drop_connect"):
        if not 0 <= _setting(config, name) < 1:
            raise UserError(f"{name} must be at least 0 and below 1, got {_setting(config, name)}: it is the share that is dropped")
    if not 0 < config.search.hybrid.share <= 1:
        raise UserError(f"search.hybrid.share must be above 0 and at most 1, got {config.search.hybrid.share}: it is a share of the images")
    if config.search.hybrid.trains and config.export.precision != "float32":
        raise UserError(f"search.hybrid trains float32 networks, export.precision is {config.export.precision}: give up one of the two")
    make_space(config.space)
    choose("training method", config.train.method, METHODS)
    choose("precision", config.train.precision, PRECISIONS)
    choose("target", config.export.target, TARGETS)
    choose("precision", config.export.precision, {"float32": None, "int8": None})
    choose("data set", config.data.source.partition(":")[0], DATASETS)
    make_algorithm(config.search)
    _check_objectives(config)
    device = make_device(config.profile)
    if config.search.look_ups and isinstance(device, Modelled):
        raise UserError(f"search.look_ups must be 0 with the device {device.name}, which is a model and says no more than the search knows")


def _check_objectives(config: Config) -> None:
    """Refuses objectives that nobody knows or the device does not model, and more than a report can compare."""
    search = config.search
    for name in search.also:
        choose("objective", name, FURTHER)
    if len(search.also) > MOST or len(set(search.also)) < len(search.also):
        raise UserError(f"search.also must be {MOST} different objectives at most, got {' '.join(search.also)}: leave some out")
    if len(search.also) == MOST and search.population * search.generations > CANDIDATES:
        raise UserError(
            f"search.population x search.generations must be at most {CANDIDATES} with {MOST} of search.also, got "
            f"{search.population * search.generations}: lower one of them, for the hypervolume of four objectives takes no more"
        )
    if "energy_uj" in search.also:
        make_memory_chip(config.profile.device)
    if search.also and search.look_ups:
        raise UserError("search.look_ups settles the front of error and latency alone: give up search.also, or the look-ups")


def check_fit(config: Config, data: Dataset, space: Space) -> None:
    """Refuses settings that do not go with the data or the space."""
    for name in ("train.batch_size", "finetune.batch_size"):
        if _setting(config, name) > len(data.train):
            raise UserError(
                f"{name} must be at most the {len(data.train)} training images, got {_setting(config, name)}: choose a smaller one"
            )
    hybrid = config.search.hybrid
    images = round(hybrid.share / QUARTER**hybrid.halvings * len(data.train))
    if hybrid.trains and hybrid.batch_size > images:
        raise UserError(
            f"search.hybrid.batch_size must be at most the {images} training images that search.hybrid.share and .halvings leave, "
            f"got {hybrid.batch_size}: choose a smaller one"
        )
    check_divides(config.train.batch_size, config.train.accumulate, data_mesh())
    crop, size = config.data.augmentation.crop, min(data.image_size)
    if not 0 <= crop < size:
        raise UserError(f"data.augmentation.crop must be at least 0 and below the image size {size}, got {crop}: choose a smaller shift")
    subnets = config.profile.train + config.profile.validation + config.profile.test
    if subnets > space.size():
        raise UserError(
            f"profile.train, .validation and .test ask for {subnets} subnets, but space {space.name} has {space.size()}: ask for fewer"
        )


def check_weights(config: Config, data: Dataset, space: Space) -> None:
    """Refuses weights to start from that are not there, damaged or of another space, and a classifier that nobody would train.

    Reads names and shapes alone. To be asked where the supernet has no checkpoint yet: later the weights are not read.
    """
    if config.weights is None:
        return
    found = initial.look(config.weights, SUPERNETS[type(space.structure)](space), data.class_names)
    if found.fresh and config.train.epochs == 0 and not config.search.hybrid.trains:
        raise UserError(
            f"train.epochs 0 would search with a classifier of random numbers ({found.lines[-1]}): train it, by train.epochs or "
            "search.hybrid.head_epochs, or name weights of the same classes"
        )


def _setting(config: Config, name: str) -> float:
    return reduce(getattr, name.split("."), config)
