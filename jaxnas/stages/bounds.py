"""What each setting may be: its type, and for a number the range in which it makes sense."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from jaxnas.config import Config
from jaxnas.errors import UserError


class Range(NamedTuple):
    """Numbers from `least` to `most`, either of which may itself be left out."""

    least: float
    most: float
    above: bool = False
    below: bool = False


WHOLE = Range(0, 10**9)  # of a whole number that RANGES does not have
NUMBER = Range(0, 1e9)  # of any other number
SHARE = Range(0, 1)
RATE = Range(0, 100, above=True)
COUNT = Range(1, 10**9)
EPOCHS = Range(0, 10**6)
SMOOTHING = Range(0, 1, below=True)
SUBNETS = Range(2, 10**5)
NOISE = {
    "deviation": Range(-100, 100),
    "drop": SMOOTHING,
    "clip": Range(0, 1e6),
    "clip_deviations": Range(0, 1000),
}

RANGES = {
    "seed": Range(0, 2**32 - 1),  # all that a key of JAX keeps of it
    "latency_limit_ms": Range(0, 1e9, above=True),
    "data.image_size": Range(1, 1 << 14),
    "data.workers": Range(0, 1024),
    "data.search_images": COUNT,
    "data.selection_share": Range(0, 1, below=True),
    "data.calibration_images": COUNT,
    "train.epochs": EPOCHS,
    "train.batch_size": COUNT,
    "train.random_subnets": Range(1, 1000),
    "train.candidates": Range(1, 1000),
    "train.learning_rate": RATE,
    "train.warmup_epochs": EPOCHS,
    "train.weight_decay": Range(0, 100),
    "train.label_smoothing": SMOOTHING,
    "train.dropout": SMOOTHING,
    "train.drop_connect": SMOOTHING,
    "train.ema_decay": SMOOTHING,
    "train.accumulate": COUNT,
    "train.relaxed.order": Range(1, 2),
    "train.relaxed.held_out": Range(0, 1, above=True, below=True),
    "train.relaxed.weights_first": Range(0, 1, below=True),
    "train.relaxed.learning_rate": RATE,
    "train.relaxed.cost_weights": Range(0, 1e9),
    "train.relaxed.cost_targets": Range(0, 1e9, above=True),
    "train.relaxed.cost_exponent": RATE,
    "train.enas.samples": Range(2, 1000),
    "train.enas.every": Range(1, 10**6),
    "train.enas.held_out": Range(0, 1, above=True, below=True),
    "train.enas.weights_first": Range(0, 1, below=True),
    "train.pareto.fair_first": Range(0, 1, below=True),
    "train.pareto.group": Range(2, 1000),
    "train.pareto.members": Range(2, 10**5),
    "train.pareto.renew_every": COUNT,
    "train.pareto.temperature": Range(0, 1000, above=True),
    "train.pareto.held_out": Range(0, 1, above=True, below=True),
    "train.checkpoint_every": COUNT,
    "train.checkpoint_minutes": Range(0, 1e6),
    "train.log_seconds": Range(0, 1e6),
    "train.evaluated_subnets": Range(0, 1000),
    "profile.threads": Range(1, 1024),
    "profile.train": SUBNETS,
    "profile.validation": SUBNETS,
    "profile.test": SUBNETS,
    "profile.rounds": Range(1, 1000),
    "profile.more_rounds": Range(0, 1000),
    "profile.until": Range(0, 1, above=True, below=True),
    "profile.seconds": Range(0, 3600, above=True),
    "predict.steps": Range(1, 10**7),
    "predict.learning_rate": RATE,
    "predict.weight_decay": Range(0, 1000),
    "search.population": Range(2, 10**6),
    "search.generations": Range(1, 10**6),
    "search.patience": Range(1, 10**6),
    "search.seconds": Range(0, 1e9, above=True),
    "search.crossover": SHARE,
    "search.mutation": SHARE,
    "search.images": COUNT,
    "search.memory_gib": Range(0, 10**6, above=True),
    "search.look_ups": Range(0, 10**5),
    "search.analog.programmings": Range(1, 1000),
    "search.hybrid.epochs": EPOCHS,
    "search.hybrid.head_epochs": EPOCHS,
    "search.hybrid.share": Range(0, 1, above=True),
    "search.hybrid.halvings": Range(0, 10),
    "search.hybrid.batch_size": COUNT,
    "search.hybrid.learning_rate": RATE,
    "search.hybrid.weight_decay": Range(0, 100),
    "search.hybrid.label_smoothing": SMOOTHING,
    "search.hybrid.ema_decay": SMOOTHING,
    "finetune.epochs": EPOCHS,
    "finetune.batch_size": COUNT,
    "finetune.learning_rate": RATE,
    "finetune.weight_decay": Range(0, 100),
    "finetune.label_smoothing": SMOOTHING,
    "finetune.ema_decay": SMOOTHING,
    "finetune.warmup_epochs": EPOCHS,
    "finetune.distillation": SHARE,
    "finetune.networks": Range(1, 1000),
    "finetune.within_points": Range(0, 100),
    "export.calibration_images": COUNT,
    **{
        f"{part}.noise.{name}": limits
        for part in ("train", "search.hybrid", "finetune")
        for name, limits in NOISE.items()
    },
}
KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    str | None: "a string or None",
    float | None: "a number or None",
    int | None: "a whole number or None",
    tuple[str, ...]: "a tuple of strings",
    tuple[int, ...]: "a tuple of whole numbers",
    tuple[float, ...]: "a tuple of numbers",
}


def settings_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every setting: its dotted name, its type and its value.

    Raises:
        UserError: a part of the settings is not of its class.
    """
    kinds = get_type_hints(type(config))
    for field in fields(config):
        name = prefix + field.name
        kind: type = kinds[field.name]
        kind = str if kind is Any else kind  # a name, or a user's own, which has become a name
        value = getattr(config, field.name)
        if not is_dataclass(kind):
            yield name, kind, value
        elif type(value) is kind:
            yield from settings_of(value, f"{name}.")
        else:
            raise UserError(
                f"{name} must be a {kind.__name__}, got {value!r}: see jaxnas.config.Config"
            )


def check_types(config: Config) -> None:
    """Refuses settings of another type than theirs, and text that no file can hold."""
    for name, kind, value in settings_of(config):
        if not _is(kind, value):
            expected = KINDS.get(kind, str(kind))
            raise UserError(
                f"{name} must be {expected}, got {_short(value)}: write it as its default is "
                "written"
            )
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                check_text(name, text)


def check_ranges(config: Config) -> None:
    """Refuses numbers that make no sense, whatever the data."""
    for name, kind, value in settings_of(config):
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) in (int, float):
                _check_range(
                    name, number, RANGES.get(name, WHOLE if kind in (int, int | None) else NUMBER)
                )


def check_text(name: str, text: str) -> None:
    """Refuses text that no file can hold, and no file's name: bytes that are not UTF-8, and NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{name} must be text in UTF-8, got {text!r}: rename the file, and give its new name"
        ) from None
    if "\0" in text:
        raise UserError(f"{name} must not hold a NUL, got {_short(text)}: leave it out")


def _is(kind: Any, value: Any) -> bool:
    if kind in (float, float | None) and type(value) is int:
        return True
    options = get_args(kind) or (kind,)
    if get_origin(kind) is tuple:
        return type(value) is tuple and all(_is(options[0], item) for item in value)
    return type(value) in options


def _check_range(name: str, value: float, limits: Range) -> None:
    if limits.above and not value > limits.least:
        raise UserError(
            f"{name} must be above {limits.least:g}, got {_short(value)}: choose a larger number"
        )
    if not value >= limits.least:
        raise UserError(
            f"{name} must be at least {limits.least:g}, got {_short(value)}: choose a larger number"
        )
    if limits.below and not value < limits.most:
        raise UserError(
            f"{name} must be below {limits.most:g}, got {_short(value)}: choose a smaller number"
        )
    if not value <= limits.most:
        raise UserError(
            f"{name} must be at most {limits.most:.10g}, got {_short(value)}: choose a smaller "
            "number"
        )


def _short(value: Any) -> str:
    """
    >>> _short(10**30)
    '1e+30'
    """
    if type(value) is int and abs(value) >= 10**15:
        return (
            f"{value:e}".replace("000000", "").replace(".e", "e")
            if abs(value) < 10**300
            else "more than 1e+300"
        )
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
