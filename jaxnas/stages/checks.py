"""What can be known to be wrong with the settings at once.

Before hours are spent on them, or a file is written.
"""

import jax

from jaxnas.algorithms.indicators import CELLS
from jaxnas.algorithms.seeded import begins_as_told
from jaxnas.config import (
    LOGGERS,
    NUMERICS,
    Config,
    make_algorithm,
    make_device,
    make_method,
    make_objective,
    make_predictor,
    make_source,
    make_space,
)
from jaxnas.data.augment import RESIZINGS
from jaxnas.data.dataset import Dataset
from jaxnas.data.memory import available_memory, require_memory
from jaxnas.data.pictures import NON_SQUARE
from jaxnas.data.preparation import OWN, RECALIBRATIONS
from jaxnas.data.streamed import STREAM, Streamed
from jaxnas.data.transforms import make_transform
from jaxnas.errors import UserError, choose
from jaxnas.export.lint import TARGETS
from jaxnas.hardware.cost_model import cost_model
from jaxnas.objectives.limits import upper_limits
from jaxnas.plugins import find
from jaxnas.spaces.gene import CHIP
from jaxnas.spaces.joint import alone
from jaxnas.spaces.space import Space
from jaxnas.stages.bounds import check_ranges, check_types
from jaxnas.stages.evaluation import constraints, objectives
from jaxnas.stages.fits import check_fits
from jaxnas.stages.initial import networks_derived, of_settings
from jaxnas.stages.method import method_of
from jaxnas.supernets.build import build
from jaxnas.supernets.heads import check_linear
from jaxnas.training.class_weights import check_class_weights, class_weights
from jaxnas.training.device_memory import device_bytes
from jaxnas.training.loop import PRECISIONS, check_training
from jaxnas.training.method import HeldOut
from jaxnas.training.parallel import check_divides, data_mesh
from jaxnas.training.population import QUARTER
from jaxnas.weights import pretrained

LEAST, MOST = 2, 4  # objectives
# Candidates of a search for four objectives: what their hypervolume takes.
COMPARED = int(CELLS**0.5)
CANDIDATES = 10**7  # of any search: what memory takes
STEPS = 2**31 - 1  # of a training: what its counter takes


def check_settings(config: Config) -> None:
    """Refuses names that nobody knows and numbers that make no sense, whatever the data."""
    check_types(config)
    check_ranges(config)
    check_name(config.name)
    if config.search.hybrid.trains and config.export.precision != "float32":
        raise UserError(
            "search.hybrid trains float32 networks, export.precision is "
            f"{config.export.precision}: give up one of the two"
        )
    make_space(config.space)
    choose("resizing", config.data.augmentation.resizing or OWN.resizing, RESIZINGS)
    choose("recalibration", config.data.recalibration or OWN.recalibration, RECALIBRATIONS)
    for name in config.data.augmentation.transforms:
        make_transform(name)
    make_method(config.train)
    make_predictor(config.predict)
    choose("precision", config.train.precision, PRECISIONS)
    check_class_weights(config.train.class_weights)
    choose("target", config.export.target, TARGETS)
    choose("precision", config.export.precision, NUMERICS)
    make_source(config.data.source)
    for name in config.loggers:
        find("logger", name, LOGGERS)
    choose("data.non_square", config.data.non_square, NON_SQUARE)
    choose("data.stream", config.data.stream, STREAM)
    if config.search.population * config.search.generations > CANDIDATES:
        raise UserError(
            f"search.population x search.generations must be at most {CANDIDATES}, got "
            f"{config.search.population} x {config.search.generations}: lower one of them"
        )
    _check_objectives(config)
    make_algorithm(config.limited_search)
    upper_limits(config.finetune.under, config.search.objectives, "finetune.under")
    device = make_device(config.profile)
    if config.search.look_ups and cost_model(device) is not None:
        raise UserError(
            f"search.look_ups must be 0 with the device {device.name}, which is a model and says "
            "no more than the search knows"
        )


def check_name(name: str) -> None:
    """Refuses a name that is no plain folder name: a run lies in runs/NAME."""
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(name.encode()) > 200:
        raise UserError(
            "name must be the name of a folder in runs, without / and control characters, got "
            f"{name!r}: choose another, or say with --out where the run is to lie"
        )


def _check_objectives(config: Config) -> None:
    """Refuses objectives that nobody knows, and more than a report can compare."""
    search = config.search
    names = search.objectives
    for name in names:
        make_objective(name)
    if "error" not in names or not LEAST <= len(names) <= MOST or len(set(names)) < len(names):
        raise UserError(
            "search.objectives must be error and one to three others, each once, got "
            f"{' '.join(names) or 'none'}: write error latency_ms"
        )
    limit = dict(zip(names, search.upper_limits, strict=False)).get("error")
    if limit is not None and limit > 1:
        raise UserError(
            f"a limit of error is a share of the images, at most 1, got error={limit:g}: write "
            "error=0.05 for 5 %"
        )
    candidates = search.population * search.generations
    if len(names) == MOST and candidates > COMPARED:
        raise UserError(
            f"search.population x search.generations must be at most {COMPARED} with {MOST} of "
            f"search.objectives, got {candidates}: lower one of them, for the hypervolume of four "
            "objectives takes no more"
        )
    if config.latency_limit_ms is not None and not config.predicts:
        raise UserError(
            f"latency_limit_ms {config.latency_limit_ms:g} needs latency_ms among "
            f"search.objectives, got {' '.join(names)}: add it, or leave the limit away"
        )
    for name in search.bounds:
        make_objective(name, "constraint")
    if search.look_ups and search.bounds:
        raise UserError(
            "search.look_ups settles the front of error and latency alone: give up "
            f"search.constraints {' '.join(search.constraints)}, or the look-ups"
        )
    if search.look_ups and search.seconds is not None:
        raise UserError(
            "search.look_ups repeats the search, and must find the same in each, however fast the "
            "machine is: give up search.seconds, or the look-ups (search.patience goes with them)"
        )
    if search.look_ups and set(names) != {"error", "latency_ms"}:
        raise UserError(
            "search.look_ups settles the front of error and latency alone: give up the other "
            "search.objectives, or the look-ups"
        )


def check_fit(config: Config, data: Dataset, space: Space) -> None:
    """Refuses settings that do not go with the data or the space."""
    for part, settings in (("train", config.train), ("finetune", config.finetune)):
        if settings.epochs and settings.batch_size > len(data.train):
            raise UserError(
                f"{part}.batch_size must be at most the {len(data.train)} training images, got "
                f"{settings.batch_size}: choose a smaller one"
            )
        if settings.epochs * (len(data.train) // settings.batch_size) > STEPS:
            raise UserError(
                f"{part}.epochs must be at most {STEPS} steps of a batch, got {settings.epochs}: "
                "choose fewer"
            )
    hybrid = config.search.hybrid
    images = round(hybrid.share / QUARTER**hybrid.halvings * len(data.train))
    if hybrid.trains and hybrid.batch_size > images:
        raise UserError(
            f"search.hybrid.batch_size must be at most the {images} training images that "
            f"search.hybrid.share and .halvings leave, got {hybrid.batch_size}: choose a smaller "
            "one"
        )
    if hybrid.trains:
        check_linear(space)
    if config.train.epochs:
        check_divides(config.train.batch_size, config.train.accumulate, data_mesh())
        method = method_of(config)
        check_training(alone(space), method, config.train)
        if isinstance(method, HeldOut):
            _check_held_out(config, method.held_out, len(data.train))
    class_weights(config.train.class_weights, data.train.labels, data.classes)
    _check_derived(config, space)
    if isinstance(data.train, Streamed):
        if hybrid.trains:
            raise UserError(
                "search.hybrid trains candidates on images in memory, and those of "
                f"{data.name} are streamed: give it up, or set data.stream never"
            )
    else:
        require_memory(
            "the training split on the device",
            data.train.images.nbytes,
            device_bytes() or available_memory(),
        )
    crop = config.data.augmentation.crop
    size = min(data.image_size)
    if not 0 <= crop < size:
        raise UserError(
            f"data.augmentation.crop must be at least 0 and below the image size {size}, got "
            f"{crop}: choose a smaller shift"
        )
    # Some devices do not model some of them.
    net = build(space)
    objectives(config, net)
    constraints(config, net)
    check_fits(config, space)
    algorithm = make_algorithm(config.search)
    # Some of evosax's want an even population.
    jax.eval_shape(lambda key: algorithm.init(key, space), jax.random.key(0))
    subnets = config.profile.train + config.profile.validation + config.profile.test
    if subnets > space.size():
        raise UserError(
            f"profile.train, .validation and .test ask for {subnets} subnets, but space "
            f"{space.name} has {space.size()}: ask for fewer"
        )


def _check_held_out(config: Config, share: float, images: int) -> None:
    """Refuses batches larger than the images that are kept from the weights, or left to them."""
    kept = round(share * images)
    least = min(kept, images - kept)
    if config.train.batch_size > least:
        raise UserError(
            f"train.batch_size must be at most the {least} training images of the smaller part "
            f"where train.method {config.train.method} holds {kept} of {images} out, got "
            f"{config.train.batch_size}: choose a smaller one, or another held_out"
        )


def _check_derived(config: Config, space: Space) -> None:
    """Refuses a search that cannot begin with the networks that the training derives."""
    derived = networks_derived(config, space)
    if not derived:
        return
    if chosen := [gene.name for gene in space.genes if gene.kind == CHIP]:
        raise UserError(
            f"train.method {config.train.method} learns the genes of networks alone, and the "
            "device leaves "
            f"{', '.join(chosen)} to be chosen: give each one value, or choose another method"
        )
    if derived > config.search.population:
        raise UserError(
            f"search.population must be at least the {derived} networks that train.method "
            f"{config.train.method} derives at {len(space.resolutions)} resolutions, got "
            f"{config.search.population}: choose a larger one"
        )
    if not begins_as_told(make_algorithm(config.search)):
        raise UserError(
            f"search.algorithm {config.search.algorithm} cannot begin with the networks that "
            f"train.method {config.train.method} derives: choose another, such as nsga2"
        )


def check_initial(config: Config, space: Space) -> None:
    """Refuses genomes to begin with that are not there, of another space, or too many.

    To be asked where nothing was searched yet: later the run knows them.
    """
    if len(of_settings(config, space)) and not begins_as_told(make_algorithm(config.search)):
        raise UserError(
            f"search.algorithm {config.search.algorithm} cannot begin with given genomes: leave "
            "search.initial away, or choose another, such as nsga2"
        )


def check_weights(config: Config, data: Dataset, space: Space) -> None:
    """Refuses weights to start from that are not there, damaged or of another space.

    And a classifier that nobody would train.

    Reads names and shapes alone. To be asked where the supernet has no checkpoint yet: later the
    weights are not read.
    """
    if config.weights is None:
        return
    found = pretrained.look(config.weights, build(space), data.class_names)
    if found.fresh and config.train.epochs == 0 and not config.search.hybrid.trains:
        raise UserError(
            f"train.epochs 0 would search with a classifier of random numbers ({found.lines[-1]}): "
            "train it, by train.epochs or search.hybrid.head_epochs, or name weights of the same "
            "classes"
        )
