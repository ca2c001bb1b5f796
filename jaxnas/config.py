"""What an experiment is: one frozen `Config`, read from an experiment file and overridden on the command line."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split and augmented."""

    source: str = "digits"
    """digits, tfds:NAME or npz:PATH."""
    data_dir: str | None = None
    """Where tfds keeps its data sets."""
    search_images: int = 400
    """Images taken from the training split for the search split, where the source brings none of its own."""
    calibration_images: int = 256
    """Training images that batch norm statistics are recalibrated on; at least 256, or all if there are fewer."""
    crop: int = 1
    """Augmentation: random shift by up to this many pixels."""
    flip: bool = False
    """Augmentation: mirror left-right."""


@dataclass(frozen=True)
class TrainConfig:
    """The supernet's training: sandwich rule with in-place distillation."""

    epochs: int = 40
    batch_size: int = 64
    random_subnets: int = 2
    """Random subnets per step, besides the largest and the smallest."""
    learning_rate: float = 0.1
    """Peak of SGD with Nesterov momentum 0.9; warm-up, then cosine to 0."""
    warmup_epochs: float = 2.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    checkpoint_every: int = 200
    """Steps between checkpoints."""


@dataclass(frozen=True)
class ProfileConfig:
    """Which subnets are measured, and how."""

    device: str = "onnxruntime"
    threads: int = 1
    train: int = 200
    """Subnets measured to train the predictor, drawn to cover the space."""
    validation: int = 50
    """Drawn uniformly; chooses when the predictor's training stops."""
    test: int = 50
    """Drawn uniformly; only ever reported."""
    seconds: float = 0.2
    """Time spent on each measurement."""


@dataclass(frozen=True)
class PredictConfig:
    """The latency predictor, a 31-32-16-1 perceptron."""

    steps: int = 3000
    learning_rate: float = 0.01
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class SearchConfig:
    """The multi-objective search and its evaluation."""

    algorithm: str = "nsga2"
    population: int = 28
    generations: int = 50
    crossover: float = 0.9
    mutation: float = 0.35
    images: int = 2000
    """Images of the search split that each candidate is evaluated on, at most."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Training of the chosen networks on their own."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.02
    weight_decay: float = 1e-4
    within_points: float = 5.0
    """The fastest network is chosen within this many points of the most accurate one's accuracy."""


@dataclass(frozen=True)
class Config:
    """One experiment. Every field can be overridden on the command line: `--train.epochs 5`."""

    name: str
    space: str = "tiny"
    seed: int = 0
    latency_limit_ms: float | None = None
    """The wish: the first network chosen is the most accurate one predicted below it."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
