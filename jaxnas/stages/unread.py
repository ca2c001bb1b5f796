"""Settings that a choice leaves unread, which are refused.

Who names pictures must not be given digits.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

from jaxnas.config import ALGORITHMS, METHODS, Config, device_names
from jaxnas.errors import UserError
from jaxnas.own_settings import find_with_settings, reads
from jaxnas.plugins import find, is_place, unread
from jaxnas.stages.bounds import settings_of


class Reader(NamedTuple):
    """Settings that are read under some values of a choice only."""

    settings: tuple[str, ...]
    choice: str
    values: str  # of the choice, under which they are read
    reads: Callable[[Config], bool]


DEFAULTS = Config(name="")
KNOWN = tuple(name for name, _, _ in settings_of(DEFAULTS))


def _all(part: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{part}.{name}" for name in names)


def _all_but(part: str, *names: str) -> tuple[str, ...]:
    """The settings of a part without these."""
    left_out = _all(part, *names)
    return tuple(name for name in KNOWN if name.startswith(f"{part}.") and name not in left_out)


def _method_reads(name: str, setting: str) -> bool:
    return setting not in unread(find("training method", name, METHODS))


def _algorithm_reads(text: str, setting: str) -> bool:
    make, own = find_with_settings("algorithm", text, ALGORITHMS)
    return reads(make, setting) and setting not in own


def _begins_as_told(text: str, setting: str) -> bool:
    make, _ = find_with_settings("algorithm", text, ALGORITHMS)
    return setting not in unread(make)


def _by_name(
    part: str, name: str, choice: str, known: Iterable[str], read_by: Callable[[str, str], bool]
) -> Reader:
    """Of a setting that is read by some of what the names of a choice stand for."""
    *most, last = filter(lambda one: read_by(one, name), known)
    return Reader(
        (f"{part}.{name}",),
        f"{part}.{choice}",
        f"{', '.join(most)} or {last}" if most else last,
        lambda config: read_by(setting(config, f"{part}.{choice}"), name),
    )


MADE = ("digits", "cluttered_digits")  # sources whose images have a size of their own
READERS = (
    Reader(
        ("data.data_dir",), "data.source", "tfds:NAME", lambda config: _source(config) == "tfds"
    ),
    Reader(
        ("data.search_images",),
        "data.source",
        "digits, tfds:NAME or folder:PATH",
        lambda config: _source(config) != "npz",
    ),
    Reader(
        _all("data", "image_size", "non_square", "scaled_decoding"),
        "data.source",
        "folder:PATH",
        lambda config: _source(config) not in (*MADE, "tfds", "npz"),
    ),
    Reader(
        _all("data", "stream", "workers"),
        "data.source",
        "folder:PATH or tfds:NAME",
        lambda config: _source(config) not in (*MADE, "npz"),
    ),
    Reader(
        _all("data.augmentation", "crop", "flip", "transforms"),
        "finetune.epochs",
        "1 and more (or train.epochs or search.hybrid.epochs)",
        lambda config: (
            config.finetune.epochs + config.train.epochs + config.search.hybrid.epochs > 0
        ),
    ),
    Reader(
        ("train.class_weights",),
        "finetune.epochs",
        "1 and more (or train.epochs or search.hybrid)",
        lambda config: (
            config.finetune.epochs + config.train.epochs > 0 or config.search.hybrid.trains
        ),
    ),
    Reader(
        # Fine-tuning has the minutes between checkpoints of the training, and weights of classes.
        _all_but("train", "epochs", "checkpoint_minutes", "class_weights"),
        "train.epochs",
        "1 and more",
        lambda config: config.train.epochs > 0,
    ),
    *(
        _by_name("train", name, "method", METHODS, _method_reads)
        for name in sorted({name for method in METHODS.values() for name in unread(method)})
    ),
    Reader(
        _all_but("train.relaxed"),
        "train.method",
        "relaxed",
        lambda config: config.train.method == "relaxed",
    ),
    Reader(
        _all_but("train.enas"),
        "train.method",
        "enas",
        lambda config: config.train.method == "enas",
    ),
    Reader(
        _all_but("train.pareto"),
        "train.method",
        "pareto_rank",
        lambda config: config.train.method == "pareto_rank",
    ),
    Reader(
        ("profile.threads",),
        "profile.device",
        "onnxruntime, openvino or ssh:HOST",
        lambda config: _measures(config, "onnxruntime", "openvino", "ssh"),
    ),
    Reader(
        ("profile.seconds",),
        "profile.device",
        "onnxruntime, openvino, ssh:HOST or hailo8l",
        lambda config: _measures(config, "onnxruntime", "openvino", "ssh", "hailo8l"),
    ),
    Reader(
        ("predict.steps",),
        "predict.method",
        "mlp or lstm_gcn_af",
        lambda config: config.predict.method not in ("ensemble", "lookup", "trees"),
    ),
    Reader(
        _all("predict", "learning_rate", "weight_decay"),
        "predict.method",
        "mlp or ensemble",
        lambda config: config.predict.method not in ("lookup", "trees", "lstm_gcn_af"),
    ),
    _by_name("search", "crossover", "algorithm", ALGORITHMS, _algorithm_reads),
    _by_name("search", "mutation", "algorithm", ALGORITHMS, _algorithm_reads),
    _by_name("search", "initial", "algorithm", ALGORITHMS, _begins_as_told),
    Reader(
        _all_but("search.hybrid", "epochs", "head_epochs"),
        "search.hybrid.epochs",
        "1 and more (or search.hybrid.head_epochs)",
        lambda config: config.search.hybrid.trains,
    ),
    Reader(
        _all_but("finetune", "epochs", "networks", "under", "within_points", "distillation"),
        "finetune.epochs",
        "1 and more",
        lambda config: config.finetune.epochs > 0,
    ),
    Reader(
        ("finetune.distillation",),
        "finetune.teacher",
        "largest, a run or weights",
        lambda config: config.finetune.teacher is not None and config.finetune.epochs > 0,
    ),
)


def check_read(config: Config) -> None:
    """Refuses settings that differ from their defaults and that nothing reads."""
    for reader, name in _unread(config):
        value = setting(config, name)
        choice = setting(config, reader.choice)
        raise UserError(
            f"{name} {value!r} is not read with {reader.choice} {choice!r}, but with "
            f"{reader.values}: leave it away, or choose another {reader.choice}"
        )


def only_read(config: Config, before: Config) -> Config:
    """The settings of `before` with overrides, without those that the overrides have left unread.

    These have their defaults.

    `before` may itself hold settings that nothing reads, which stay, and so do overrides that
    nothing reads: `check_read` refuses both.
    """
    ignored = {name for _, name in _unread(before)}
    for _, name in _unread(config):
        if setting(config, name) == setting(before, name) and name not in ignored:
            config = _changed(config, name, setting(DEFAULTS, name))
    return config


def without_unread(config: Config) -> Config:
    """The settings with all that nothing reads at its default: what two runs are compared by."""
    return reduce(
        lambda left, name: _changed(left, name, setting(DEFAULTS, name)),
        [name for _, name in _unread(config)],
        config,
    )


def is_read(config: Config, name: str) -> bool:
    """Whether other settings leave this one a meaning."""
    return not any(name in reader.settings and not reader.reads(config) for reader in READERS)


def setting(config: Config, name: str) -> Any:
    """The value of a dotted name."""
    return reduce(getattr, name.split("."), config)


def _unread(config: Config) -> Iterator[tuple[Reader, str]]:
    for reader in READERS:
        if not reader.reads(config):
            yield from (
                (reader, name)
                for name in reader.settings
                if setting(config, name) != setting(DEFAULTS, name)
            )


def _changed(part: Any, name: str, value: Any) -> Any:
    first, _, rest = name.partition(".")
    return replace(part, **{first: _changed(getattr(part, first), rest, value) if rest else value})


def _source(config: Config) -> str:
    return config.data.source.partition(":")[0]


def _measures(config: Config, *kinds: str) -> bool:
    """Whether the device is of one of these kinds or a user's own, or a worst case of one."""
    named = [name.partition(":") for name in device_names(config.profile.device)]
    return any(kind in kinds or (colon and is_place(kind)) for kind, colon, _ in named)
