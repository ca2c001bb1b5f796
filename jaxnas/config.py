"""What an experiment is: one frozen `Config`; and the names that it may use.

Settings that one layer reads lie beside its code (`TrainConfig` in training/method.py); this page
composes them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxnas import toml_files
from jaxnas.algorithms.algorithm import Algorithm, AnySpace
from jaxnas.algorithms.bayesian import Bayesian
from jaxnas.algorithms.constrained import Constrained
from jaxnas.algorithms.elitist import Elitist
from jaxnas.algorithms.evolution import RegularizedEvolution
from jaxnas.algorithms.evosax import Evosax
from jaxnas.algorithms.formulated import Formulated
from jaxnas.algorithms.formulations import (
    Chebyshev,
    EpsilonConstraint,
    Formulation,
    Lexicographic,
    MnasNet,
    WeightedProduct,
    WeightedSum,
)
from jaxnas.algorithms.islands import Islands
from jaxnas.algorithms.local_search import LocalSearch
from jaxnas.algorithms.moead import MOEAD
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.nsga3 import NSGA3
from jaxnas.algorithms.pareto_rank import ParetoRankSearch
from jaxnas.algorithms.ppo import PPO
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.algorithms.reinforce import Reinforce
from jaxnas.algorithms.variation import Real
from jaxnas.data import cluttered_digits, digits, folder, npz, tfds
from jaxnas.data.augment import Augmentation
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError, choose
from jaxnas.export.lint import takes_int8
from jaxnas.hardware import analog_cell, analog_chip, elastic_chip
from jaxnas.hardware.analog_chip import AnalogChip
from jaxnas.hardware.analog_layer import ChipMemory
from jaxnas.hardware.cost_model import (
    CostModel,
    LayeredModel,
    Modelled,
    cost_model,
    layered_model,
)
from jaxnas.hardware.dataflow_chip import HAILO_8L, DataflowChip, SingleContext
from jaxnas.hardware.device import Device
from jaxnas.hardware.hailo import device
from jaxnas.hardware.memory_chip import RAPTOR, RAPTOR_SMALL, MemoryBoundChip
from jaxnas.hardware.microcontroller import Microcontroller
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.hardware.openvino import OpenVino
from jaxnas.hardware.ssh import SshDevice
from jaxnas.hardware.worst_case import worst_case
from jaxnas.loggers.mlflow import MLflow
from jaxnas.loggers.tensorboard import TensorBoard
from jaxnas.loggers.wandb import WeightsAndBiases
from jaxnas.loggers.writer import About, MakeWriter, Writer
from jaxnas.numerics.float32 import Float32
from jaxnas.numerics.int8 import Int8
from jaxnas.numerics.numerics import Numerics
from jaxnas.objectives import analog, chip, costs, energy, error, latency
from jaxnas.objectives.analog import AnalogConfig
from jaxnas.objectives.expected import OF_SPACE
from jaxnas.objectives.limits import upper_bounds, upper_limits
from jaxnas.objectives.objective import Context, Objective
from jaxnas.own_settings import build, find_with_settings
from jaxnas.plugins import Name, find, is_place, leaves_unread, named, with_argument
from jaxnas.predictors.encoders import Flat, Joined
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.graph_convolution import GraphConvolution
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.lstm import LSTM
from jaxnas.predictors.mlp import MLP, EarlyStoppedMLP
from jaxnas.predictors.network import Network
from jaxnas.predictors.predictor import Predictor
from jaxnas.predictors.single import Single
from jaxnas.predictors.trees import Trees
from jaxnas.relaxations.binary_paths import BinaryPaths
from jaxnas.relaxations.gumbel import Gumbel
from jaxnas.relaxations.relaxation import Relaxation
from jaxnas.relaxations.sampled import Sampled
from jaxnas.relaxations.softmax import Softmax
from jaxnas.relaxations.straight_through import StraightThrough
from jaxnas.spaces import (
    darts,
    meta_kernel,
    mnasnet,
    mobilenet_v2,
    nasbench201,
    pruned_file,
    published,
    raptor,
    resnet_like,
    squeezenet,
    toml,
)
from jaxnas.spaces.box import Box
from jaxnas.spaces.hand_features import hand_features
from jaxnas.spaces.pruned import prune
from jaxnas.spaces.space import Space
from jaxnas.training import (
    attentive,
    enas,
    fair,
    pareto_rank,
    relaxed,
    sandwich,
    shrinking,
    single_path,
)
from jaxnas.training.enas_settings import EnasConfig
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import MakeMethod, Method, TrainConfig
from jaxnas.training.population import HybridConfig


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split and augmented."""

    source: Name = "digits"
    """digits, cluttered_digits, tfds:NAME, npz:PATH (an archive) or folder:PATH (JPEG, PNG, WebP,
    BMP and GIF files, a sub-folder for each class)."""
    data_dir: Annotated[str | None, tyro.conf.arg(aliases=("--data-dir",))] = None
    """Where tfds keeps its data sets."""
    image_size: int | None = None
    """Height and width that the pictures of a folder are scaled to, pixels. By default they keep
    their own, where all are squares of one size."""
    non_square: str = "crop"
    """How other pictures of a folder become squares: crop (the square in the middle) or squash (all
    of the picture, its sides scaled apart)."""
    scaled_decoding: bool = False
    """JPEG files of a folder are decoded at a half, a quarter or an eighth of their size where that
    is no smaller than the pictures are to be: several times as fast, pixels differ a little."""
    stream: str = "auto"
    """Whether training images of a folder or of tfds are read while the training goes on, by grain:
    auto (where they do not fit into memory), always or never. That changes no result."""
    workers: int | None = None
    """Processes that read streamed images, by default one a core; 0: threads of the training's own
    process."""
    search_images: int = 400
    """Images taken from the training split for the search split, where the source brings none of
    its own."""
    selection_share: float = 0.5
    """Share of the search split that the search never sees. The networks of its front are ranked on
    these images before some are chosen: of a thousand candidates the best on the images searched is
    partly the luckiest. 0: the choice is made on the images searched."""
    calibration_images: int = 256
    """Training images that batch norm statistics are recalibrated on, or as many as there are
    classes if those are more; all if there are fewer."""
    recalibration: str | None = None
    """How these are varied, as the weights were trained: plain, padded_crop (shifted by an eighth,
    black borders, mirrored) or resized_crop (parts of the image, mirrored). By default resized_crop
    for published weights until this run trains them, else plain: its own shifts with reflected
    borders leave statistics as they are."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        object.__setattr__(self, "source", named(self.source))


@dataclass(frozen=True)
class ProfileConfig:
    """Which subnets are measured, and how."""

    device: Name = "onnxruntime"
    """onnxruntime: this machine's processor; openvino: the same through OpenVINO, an optional part
    of jaxnas; ssh:HOST: the processor of a machine that `ssh HOST` reaches without a password,
    through ONNX Runtime of its python3, or of ssh:HOST:PYTHON, an interpreter's path there;
    hailo8l: a Hailo-8L through its own compiler and runtime (tools/export/README.md);
    hailo8l_model, raptor, raptor_small: not measured but simulated, by models fitted to published
    figures (hailo8l_model:single refuses networks that do not fit as a whole); pcm, hermes,
    hermes_one, reram: chips that multiply in analog memory, simulated; or the path of
    a .toml file that describes such a machine (docs/how-to/own-device.md); worst:NAME,NAME: the
    larger figure of two such devices or more, so that latency_ms and energy_uj are worst cases."""
    threads: int = 1
    """Of the device's runtime."""
    train: int = 200
    """Subnets measured to train the predictor, drawn to cover the space."""
    validation: int = 50
    """Drawn uniformly; chooses when the predictor's training stops, and how wide its intervals are.
    An ensemble learns from them too."""
    test: int = 50
    """Drawn uniformly; only ever reported."""
    rounds: int = 3
    """Every subnet is measured once in each round, and the fastest counts: a machine's slow phases
    outlast one measurement."""
    more_rounds: int = 6
    """A network whose two fastest rounds differ by more than 3 % is measured again, in up to so
    many more rounds."""
    until: float | None = None
    """Measure batch after batch, until fresh subnets are predicted with at most this mean relative
    error (0.03: `--until 3%`; by an ensemble, whatever predict.method) or the front no longer
    changes, and train + validation + test subnets at the most; the three are then told apart on the
    way. Test subnets neither choose what is measured nor end it."""
    seconds: float = 0.1
    """Time spent on each measurement. One whose two halves differ by more than 10 % is made again,
    and after five times refused."""

    def __post_init__(self):
        object.__setattr__(self, "device", named(self.device))


@dataclass(frozen=True)
class PredictConfig:
    """The latency predictor and its training."""

    method: Name = "mlp"
    """mlp (the mean of eight perceptrons), ensemble (25 perceptrons; each leaves a fifth of the
    networks out, and its errors there set the intervals), lookup (a table for each part of the
    network), trees (gradient-boosted), lstm_gcn_af (a network over the sequence of layers, their
    graph and eight hand features, HW-PR-NAS's encoders), or your own, file.py:name: a function of
    these settings that returns a `Predictor` (predictors/predictor.py)."""
    steps: int = 2000
    """Of training; of mlp at most: those after which the validation networks are predicted best
    count. A member of the ensemble takes 500."""
    learning_rate: float = 0.01
    """Of the optimizer, AdamW, of mlp and ensemble."""
    weight_decay: float = 2.0
    """Of the same."""

    def __post_init__(self):
        object.__setattr__(self, "method", named(self.method))


@dataclass(frozen=True)
class SearchConfig:
    """The multi-objective search and its evaluation."""

    algorithm: Name = "nsga2"
    """nsga2, nsga3, moead, islands (four of NSGA-II, a quarter of the population each),
    evolution (regularized), elitist, local, reinforce and ppo (a recurrent policy that learns from
    rewards), bayesian (models of the objectives choose candidates, for evaluations that are dear),
    pareto_rank (networks that learn the Pareto rank choose them), random, or evosax:NAME, any of
    evosax's. Settings of its own follow the name: moead:neighbours=10:locality=0.8; an unknown one
    gets the list."""
    population: int = 28
    """Candidates per generation, evaluated in one compiled call."""
    generations: int = 50
    """The initial population is the first."""
    patience: int | None = None
    """The search stops when the hypervolume of the candidates within all limits has grown by at
    most 0.1 % in so many generations. Its reference point lies beyond the worst values of the first
    generation, by a tenth of their range. Under a formulation its best value counts in place of the
    hypervolume. None: it never stops so. Random sampling beside takes as many generations as the
    search."""
    seconds: float | None = None
    """Wall time of the search at most, checked after each generation. What it took before it was
    interrupted counts."""
    initial: str | None = None
    """Genomes that stand in the first generation: the choices themselves as a run's files have them
    (0 2 1, several with commas between), a file of them (.npz of candidates, .json such as
    chosen.json, or text), or another run in the same space, of which the front is taken. Of more
    than fit those that crowd each other least are taken where their fitness is known."""
    crossover: float = 0.9
    """Probability, per pair of parents, that the two exchange genes, whatever the algorithm."""
    mutation: float = 0.35
    """Probability, per child, that at least one of its genes changes, whatever the algorithm."""
    images: int = 2000
    """Images of the search split that each candidate is evaluated on, at most."""
    memory_gib: float | None = None
    """What the activations of networks evaluated side by side may take of a device's memory, by
    default half of it (on a CPU 4 GiB)."""
    hybrid: HybridConfig = field(default_factory=HybridConfig)
    analog: AnalogConfig = field(default_factory=AnalogConfig)
    objectives: tuple[str, ...] = ("error", "latency_ms")
    """What is minimised, error and up to three more: latency_ms (as predicted), energy_uj (of one
    image, where the device models it), mmacs and mparams (millions), peak_kib (the most that
    activations take at once, as float32, with norm and activation computed in place; a runtime that
    gives each ONNX operator's result memory of its own takes up to 2.3 times as much for swish, and
    weights come on top), chip_kib (the local memory of a chip that leaves it to be chosen), and on
    an analog chip (search.analog) analog_error@1day (the error so long after programming, also
    @60s, @2.5h, @30days), analog_variation (points of accuracy lost from 1 s to 30 days, the AVM
    of AnalogNAS) and analog_deviation@1day (of the accuracy over programmings, in points). Without
    latency_ms nothing is profiled and predicted before the search."""
    limits: tuple[str, ...] = ()
    """The most that each of these may be, NAME=NUMBER: mmacs=20 peak_kib=300. Every algorithm but
    random prefers candidates within all limits to those beyond, and networks are chosen from
    within. latency_limit_ms is one of them."""
    constraints: tuple[str, ...] = ()
    """The most that figures may be which are not minimised, NAME=NUMBER: mmacs=20 where error and
    latency_ms are. They are evaluated for each candidate, and every algorithm prefers candidates
    that keep to all of them."""
    formulation: str | None = None
    """One figure made of all objectives, which the search then minimises in place of finding a
    front: weighted_sum:weights=1,0.02, chebyshev:weights=1,0.02 (from ideal=0,0),
    weighted_product:weights=1,0.07, mnasnet:target=20:exponent=-0.07 (or hard=True: the reward of
    an error and costs with targets), epsilon_constraint:most=5 (of each objective but the first) or
    lexicographic:tolerances=0.01,0.1; values in the order of search.objectives. The network that is
    best by it is the first one chosen."""
    look_ups: int = 0
    """Candidates that the search may send to the device: those whose predicted intervals leave open
    whether they are on the front, 15 at a time. After each batch an ensemble is fitted again,
    whatever predict.method, and the search repeated; a network's error is evaluated once."""

    def __post_init__(self):
        object.__setattr__(self, "algorithm", named(self.algorithm))

    @property
    def upper_limits(self) -> tuple[float | None, ...]:
        """The limit of each objective, None where it has none; nothing at all where none has."""
        return upper_limits(self.limits, self.objectives)

    @property
    def bounds(self) -> dict[str, float]:
        """The most that figures may be which are not minimised, by name."""
        return upper_bounds(self.constraints, self.objectives)


@dataclass(frozen=True)
class ExportConfig:
    """What the networks are exported for."""

    target: str = "onnxruntime"
    """onnxruntime, generic or hailo8l: what it would refuse stops the export, and says which layer
    and why."""
    precision: str = "float32"
    """float32 or int8: as what the search evaluates networks and the device measures them. With the
    target onnxruntime both are exported, and tested at the end."""
    calibration_images: int = 256
    """Training images that activations are quantised by, at most; also written as .npy, for other
    quantisers."""

    @property
    def int8_files(self) -> bool:
        """Whether devices are given int8 files; those that take none quantise by themselves."""
        return self.precision == "int8" and takes_int8(self.target)


@dataclass(frozen=True)
class Config:
    """One experiment. Every field can be overridden on the command line: `--train.epochs 5`."""

    name: str
    """Names the run directory, runs/NAME."""
    space: Name = "tiny"
    """A known one: tiny (0.4 to 3.4 MMACs at 32 pixels), small (0.2 to 6.4) and residual (2 to 37,
    both of ordinary convolutions), cifar (8 to 66), cifar_hailo, attentive_nas,
    attentive_nas_cifar, ofa_mobilenet_v3, ofa_mobilenet_v3_cifar, raptor, raptor_cifar,
    mobilenet_v2 and mobilenet_v2_cifar (widths of every row; mobilenet_v2:0.5 is one network,
    scaled uniformly); resnet (ResNet-34 and -50 and below), resnext_cifar (grouped convolutions);
    mnasnet and mnasnet_cifar (each stage chooses its operator); squeezenet and fire_cifar
    (fire modules); meta_kernel (depthwise kernels of 3 to 11);
    nasbench201 (15,625 cells), darts (8 cells, as are searched; jaxnas.spaces.darts:darts_20 has
    the 20 that are trained in the end); resnet_like (parallel branches, AnalogNAS's decisions; 0.3
    to 51 MMACs at 32 pixels); the path of a .toml file that describes one
    (docs/how-to/own-space.md), or of a pruned.json that `jaxnas prune` left; or your own,
    file.py:name, a function of the images' size, channels and classes. So any name of these
    settings may be: of an algorithm, a device, a predictor, a method of training, a source of data;
    in an experiment's file the function stands for its name."""
    weights: str | None = None
    """What the supernet starts from: tiny_cifar100, residual_cifar100 or residual_cifar10, which
    come with jaxnas for the spaces tiny and residual; the supernet.safetensors of another run in
    the same space; or a published checkpoint, of AttentiveNAS or AlphaNet for the space
    attentive_nas, of Once-for-All for ofa_mobilenet_v3. A classifier for other classes, or another
    number of them, is replaced by a fresh one. With --train.epochs 0 the weights are used as they
    are, which a fresh classifier forbids unless search.hybrid trains."""
    seed: int = 0
    """All randomness follows from it."""
    loggers: tuple[str, ...] = ()
    """Where the lines of metrics.jsonl are shown besides, each an optional part of jaxnas:
    tensorboard (files in the run directory), wandb, mlflow, or your own, file.py:name, a function
    of what loggers/writer.py calls `About`."""
    latency_limit_ms: float | None = None
    """The most that a network may be predicted to take: a limit of the search, and the first
    network chosen is the most accurate within."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    def __post_init__(self):
        object.__setattr__(self, "space", named(self.space))

    @property
    def predicts(self) -> bool:
        """Whether the search minimises a latency, which is then profiled and predicted."""
        return "latency_ms" in self.search.objectives

    @property
    def limited_search(self) -> SearchConfig:
        """The settings of the search, latency_limit_ms among its limits."""
        if self.latency_limit_ms is None:
            return self.search
        return replace(
            self.search, limits=(*self.search.limits, f"latency_ms={self.latency_limit_ms!r}")
        )


def _of_any_size(make: Callable[..., Space]) -> Callable[..., Space]:
    """A space that has resolutions of its own, whatever size the images have."""

    @wraps(make)
    def built(size: int, channels: int, classes: int, **scaled: Any) -> Space:
        return make(channels, classes, **scaled)

    return built


# Known by name. A space is built for the image size, channels and classes of a data set.
SPACES: dict[str, Callable[..., Space]] = {
    "tiny": published.tiny,
    "small": published.small,
    "residual": published.residual,
    "resnet": _of_any_size(published.resnet),
    "resnext_cifar": published.resnext_cifar,
    "cifar": published.cifar,
    "cifar_hailo": _of_any_size(published.cifar_hailo),
    "attentive_nas": _of_any_size(published.attentive_nas),
    "attentive_nas_cifar": published.attentive_nas_cifar,
    "ofa_mobilenet_v3": _of_any_size(published.ofa_mobilenet_v3),
    "ofa_mobilenet_v3_cifar": published.ofa_mobilenet_v3_cifar,
    "mobilenet_v2": _of_any_size(mobilenet_v2.mobilenet_v2),
    "mobilenet_v2_cifar": mobilenet_v2.mobilenet_v2_cifar,
    "meta_kernel": meta_kernel.meta_kernel,
    "raptor": _of_any_size(raptor.raptor),
    "raptor_cifar": raptor.raptor_cifar,
    "mnasnet": _of_any_size(mnasnet.mnasnet),
    "mnasnet_cifar": mnasnet.mnasnet_cifar,
    "squeezenet": _of_any_size(squeezenet.squeezenet),
    "fire_cifar": squeezenet.fire_cifar,
    "nasbench201": nasbench201.nasbench201,
    "darts": darts.darts,
    "resnet_like": resnet_like.resnet_like,
}
SCALED = ("mobilenet_v2", "mobilenet_v2_cifar")  # that a uniform width multiplier may follow
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "nsga2": NSGA2,
    "islands": Islands,
    "nsga3": NSGA3,
    "moead": MOEAD,
    "evolution": RegularizedEvolution,
    "elitist": Elitist,
    "local": LocalSearch,
    "reinforce": Reinforce,
    "ppo": PPO,
    "evosax": Evosax,
    "bayesian": Bayesian,
    "pareto_rank": ParetoRankSearch,
    "random": RandomSearch,
}
FORMULATIONS: dict[str, Callable[..., Formulation]] = {
    "weighted_sum": WeightedSum,
    "chebyshev": Chebyshev,
    "weighted_product": WeightedProduct,
    "mnasnet": MnasNet,
    "epsilon_constraint": EpsilonConstraint,
    "lexicographic": Lexicographic,
}
CONTROLLERS: dict[str, type[Reinforce]] = {"reinforce": Reinforce, "ppo": PPO}
DEVICES: dict[str, Callable[[ProfileConfig], Device]] = {
    "onnxruntime": lambda settings: OnnxRuntime(settings.threads, settings.seconds),
    "openvino": lambda settings: OpenVino(settings.threads, settings.seconds),
    "hailo8l": lambda settings: device.from_environment(settings.seconds),
    "hailo8l_model": lambda settings: Modelled(HAILO_8L),
    "hailo8l_model:single": lambda settings: Modelled(SingleContext(HAILO_8L)),
    "raptor": lambda settings: Modelled(RAPTOR),
    "raptor_small": lambda settings: Modelled(RAPTOR_SMALL),
    "pcm": lambda settings: Modelled(analog_chip.PCM),
    "hermes": lambda settings: Modelled(analog_chip.HERMES),
    "hermes_one": lambda settings: Modelled(analog_chip.HERMES_ONE),
    "reram": lambda settings: Modelled(analog_chip.RERAM),
    "ssh": with_argument(":HOST")(
        lambda settings: SshDevice(*_place(settings.device), settings.threads, settings.seconds)
    ),
    "worst": with_argument(":NAME,NAME")(lambda settings: _worst_case(settings)),
}
NUMERICS: dict[str, Numerics] = {"float32": Float32(), "int8": Int8()}
# What a .toml file may describe: its `kind`, by default memory.
CHIP_KINDS: dict[str, type[CostModel]] = {
    "memory": MemoryBoundChip,
    "dataflow": DataflowChip,
    "microcontroller": Microcontroller,
    "analog": AnalogChip,
}
RELAXATIONS: dict[str, Callable[[], Relaxation]] = {
    "softmax": Softmax,
    "gumbel": Gumbel,
    "sampled": Sampled,
    "binary_paths": BinaryPaths,
    "straight_through": StraightThrough,
}
METHODS: dict[str, MakeMethod] = {
    "sandwich": sandwich.sandwich,
    "alphanet": sandwich.alphanet,
    "best_up": attentive.best_up,
    "worst_up": attentive.worst_up,
    "ofa": shrinking.ofa,
    "spos": single_path.spos,
    "fairnas": fair.fairnas,
    "relaxed": leaves_unread("random_subnets", "candidates", "dropout", "drop_connect")(
        lambda settings: relaxed.relaxed(settings, make_relaxation(settings.relaxed.relaxation))
    ),
    "pareto_rank": leaves_unread("random_subnets", "candidates", "dropout", "drop_connect")(
        lambda settings: pareto_rank.pareto_rank(settings, OF_SPACE.get(settings.pareto.cost))
    ),
    "enas": leaves_unread("candidates", "dropout", "drop_connect")(
        lambda settings: enas.enas(settings, make_controller(settings.enas))
    ),
}
PREDICTORS: dict[str, Callable[[PredictConfig], Predictor]] = {
    "mlp": lambda settings: EarlyStoppedMLP(
        settings.steps, settings.learning_rate, settings.weight_decay
    ),
    "ensemble": lambda settings: Ensemble(
        MLP(learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
    ),
    "lookup": lambda settings: Single(Lookup()),
    "trees": lambda settings: Single(Trees()),
    "lstm_gcn_af": lambda settings: Single(
        Network(Joined((LSTM(), GraphConvolution(), Flat(hand_features))), steps=settings.steps)
    ),
}
OBJECTIVES: dict[str, Callable[[Context], Objective]] = {
    "error": error.error,
    "latency_ms": latency.latency,
    "energy_uj": energy.energy,
    "mmacs": costs.macs,
    "mparams": costs.params,
    "peak_kib": costs.peak_memory,
    "chip_kib": chip.memory,
    "analog_error@1day": analog.analog("analog_error@1day"),
    "analog_variation": analog.analog("analog_variation"),
    "analog_deviation@1day": analog.analog("analog_deviation@1day"),
}
LOGGERS: dict[str, MakeWriter] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": digits.load,
    "cluttered_digits": cluttered_digits.load,
    "tfds": with_argument(":NAME")(tfds.load),
    "npz": with_argument(":PATH")(npz.load),
    "folder": with_argument(":PATH")(folder.load),
}


def make_objective(name: str, kind: str = "objective") -> Callable[[Context], Objective]:
    """What makes the objective of this name; those on analog chips may have any time."""
    if analog.is_analog(name):
        return analog.analog(name)
    return find(kind, name, OBJECTIVES)


def make_memory(settings: SearchConfig, device: Device) -> ChipMemory:
    """The analog chip that search.analog.chip names, by default the device, else pcm.

    A `UserError` where what it names is none.
    """
    name = settings.analog.chip
    made = device if name is None else make_device(ProfileConfig(device=name))
    model = cost_model(made)
    if isinstance(model, AnalogChip):
        return ChipMemory(model)
    if name is None:
        return ChipMemory(analog_chip.PCM)
    raise UserError(
        f"search.analog.chip must be a chip that multiplies in analog memory, with fixed tiles and "
        f"converters, got {name}: name pcm, hermes, hermes_one, reram, or the .toml file of one"
    )


def make_method(settings: TrainConfig) -> Method:
    """The method of training that `settings.method` names; a user's own is a function of these."""
    return find("training method", settings.method, METHODS)(settings)


def make_predictor(settings: PredictConfig) -> Predictor:
    """The predictor that `settings.method` names; a user's own is a function of these settings."""
    predictor = find("predictor", settings.method, PREDICTORS)(settings)
    if not isinstance(predictor, Predictor):
        raise UserError(
            f"predict.method {settings.method} must return a predictor with fit and from_arrays, "
            f"got {predictor!r:.80}: see predictors/predictor.py"
        )
    return predictor


def make_source(name: str) -> tuple[Callable[..., Dataset], str]:
    """What loads the data of this name, `KIND` or `KIND:ARGUMENT`, and the argument.

    A user's own is a function of an argument, which is empty, and of `data_dir`, `search_images`,
    `calibration_images` and `seed`; where it has the parameters `image_size`, `non_square`,
    `scaled_decoding`, `stream` and `workers`, of these, too.
    """
    kind, _, argument = name.partition(":")
    if is_place(kind):
        return find("data set", name, {}), ""
    return find("data set", kind, DATASETS), argument


def make_logger(name: str, about: About) -> Writer:
    """The logger of this name; a user's own is a function of what is known of the run."""
    writer = find("logger", name, LOGGERS)(about)
    if not isinstance(writer, Writer):
        raise UserError(
            f"logger {name} must return a writer with the method write, got {writer!r:.80}: see "
            "loggers/writer.py"
        )
    return writer


def make_algorithm(settings: SearchConfig, space: AnySpace | None = None) -> Algorithm:
    """The algorithm that `settings.algorithm` names, with the settings that follow its name.

    Those of its own come before `crossover` and `mutation`. A user's own is a dataclass, or a
    function of all these settings. Under a formulation the algorithm has one objective and no
    limits, and knows neither it nor the constraints. In a `Box` the operators are `Real`, else
    `Discrete`.
    """
    bounds = tuple(settings.bounds.values())
    alone = replace(settings, constraints=(), formulation=None)
    if settings.formulation is None:
        algorithm = _make_algorithm(alone, space)
        return Constrained(algorithm, bounds) if bounds else algorithm
    formulation = make_formulation(settings.formulation)
    count = len(settings.objectives)
    formulation.limits(count)  # raises what there is to raise, before the algorithm does
    of_one = replace(alone, objectives=settings.objectives[:1], limits=())
    algorithm = _make_algorithm(of_one, space)
    return Formulated(algorithm, formulation, count, settings.upper_limits, bounds)


def _make_algorithm(settings: SearchConfig, space: AnySpace | None) -> Algorithm:
    make, own = find_with_settings("algorithm", settings.algorithm, ALGORITHMS)
    if not is_dataclass(make):
        return make(settings)
    shared: dict[str, Any] = {
        "population": settings.population,
        "objectives": len(settings.objectives),
        "limits": settings.upper_limits,
        "crossover": settings.crossover,
        "mutation": settings.mutation,
    }
    if isinstance(space, Box):
        shared["variation"] = Real(settings.crossover, settings.mutation)
    return build(make, shared | own)


def make_formulation(text: str) -> Formulation:
    """The formulation of this name, with the settings that follow it.

    A user's own is a dataclass, or a function of nothing.
    """
    make, own = find_with_settings("formulation", text, FORMULATIONS)
    made = build(make, own) if is_dataclass(make) else make()
    if not isinstance(made, Formulation):
        raise UserError(
            f"search.formulation {text} must be a formulation with limits and a call, got "
            f"{made!r:.80}: see algorithms/formulations.py"
        )
    return made


def make_controller(settings: EnasConfig) -> Reinforce:
    """The controller of this name, with the settings that follow it: `ppo:epochs=3`."""
    make, own = find_with_settings("controller", settings.controller, CONTROLLERS)
    objectives = 2 if settings.cost else 1
    return build(make, {"population": settings.samples, "objectives": objectives} | own)


def make_relaxation(text: str) -> Relaxation:
    """The relaxation of this name, with the settings that follow it: `sampled:first=1`."""
    make, own = find_with_settings("relaxation", text, RELAXATIONS)
    return build(make, own) if is_dataclass(make) else make()


def make_space(name: str) -> Callable[[int, int, int], Space]:
    """What builds the space of this name, of a file, or of a user's own function.

    A .toml file describes one, a .json file what `jaxnas prune` left of one. It takes
    a size of images, channels and classes. A number after a colon is a width multiplier:
    `mobilenet_v2:0.5`.
    """
    if name.endswith(".toml"):
        return partial(toml.load, name)
    if name.endswith(".json"):
        return partial(_pruned, name)
    known, _, multiplier = name.partition(":")
    if known not in SCALED or name == known:
        return find("space", name, SPACES, "the path of a .toml file that describes one")
    try:
        return partial(SPACES[known], multipliers=mobilenet_v2.uniform(float(multiplier)))
    except ValueError:
        raise UserError(
            f"a space's width multiplier must be a number, got {name!r}: write {known}:0.5"
        ) from None


def _pruned(path: str, image_size: int, channels: int, classes: int) -> Space:
    """What a file leaves of the space that it names."""
    space, choices = pruned_file.read(path)
    try:
        return prune(make_space(space)(image_size, channels, classes), choices)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def make_device(settings: ProfileConfig) -> Device:
    """The device that `settings.device` names, or a .toml file describes.

    What follows `ssh:` or `worst:` is for that device to read. A user's own is a function of these
    settings.
    """
    kind = settings.device.partition(":")[0]
    if settings.device.endswith(".toml") and kind != "worst":
        return Modelled(load_chip(settings.device))
    name = kind if kind in ("ssh", "worst") else settings.device
    return find("device", name, DEVICES, "the path of a .toml file that describes one")(settings)


def device_names(device: str) -> list[str]:
    """The devices that a worst case is of; of another device itself.

    >>> device_names("worst:raptor,ssh:pi5"), device_names("raptor")
    (['raptor', 'ssh:pi5'], ['raptor'])
    """
    kind, _, names = device.partition(":")
    return list(filter(None, names.split(","))) if kind == "worst" else [device]


def _worst_case(settings: ProfileConfig) -> Device:
    names = device_names(settings.device)
    if any(name.partition(":")[0] == "worst" for name in names):
        raise UserError(f"{settings.device} names a worst case in a worst case: name its devices")
    return worst_case(
        [make_device(replace(settings, device=one)) for one in names], settings.device
    )


def load_chip(path: str) -> CostModel:
    """The chip that a TOML file describes, named after the file.

    Its settings are the fields of the class that `kind` names in `CHIP_KINDS`; a list of values of
    one that is `elastic` there is searched with the network. A `UserError` names the file, the
    setting, and what was expected.
    """
    settings = toml_files.read(path, "device")
    kind = str(settings.pop("kind", "memory"))
    chip = choose(f"kind of chip in {path}:", kind, CHIP_KINDS)
    given: dict[str, Any] = {"name": Path(path).stem}
    if chip is AnalogChip:
        given["cell"] = analog_cell.load(path, settings.pop("cell", "pcm"))
    return elastic_chip.load(chip, path, settings, given)


def make_layered_model(device: str) -> LayeredModel:
    """The cost model of the device of this name or file, one that accounts for each layer."""
    return layered_model(make_device(ProfileConfig(device=device)))


def make_analog_chip(device: str) -> AnalogChip | None:
    """The chip with analog memory of this name or file; None where the device is another."""
    model = cost_model(make_device(ProfileConfig(device=device)))
    chip = model.chosen({}) if isinstance(model, elastic_chip.ElasticChip) else model
    return chip if isinstance(chip, AnalogChip) else None


def _place(device: str) -> tuple[str, str]:
    """
    >>> _place("ssh:pi5"), _place("ssh:pi5:venv/bin/python")
    (('pi5', 'python3'), ('pi5', 'venv/bin/python'))
    """
    _, host, python = [*device.split(":", 2), "", ""][:3]
    return host, python or "python3"
