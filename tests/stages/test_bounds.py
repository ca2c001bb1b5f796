import math
from copy import deepcopy
from functools import reduce

import pytest

from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.stages.bounds import RANGES, Range, check_ranges, check_types, settings_of
from jaxnas.training.method import TrainConfig

CONFIG = Config("x")


def changed(config, name, value):
    """As an experiment file would have it.

    The tests' type checks would stop what is of another type.
    """
    config = deepcopy(config)
    *parts, last = name.split(".")
    object.__setattr__(reduce(getattr, parts, config), last, value)
    return config


NUMBERS = [
    name for name, kind, _ in settings_of(CONFIG) if kind in (int, float, float | None, int | None)
]
SEVERAL = [name for name, kind, _ in settings_of(CONFIG) if kind == tuple[float, ...]]
WHOLE = [name for name, kind, _ in settings_of(CONFIG) if kind is int]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_bounds(name):
    for value in (math.nan, math.inf, -math.inf, -1, 1e308, 10**20, 10**400):
        with pytest.raises(
            UserError,
            match=(
                f"^{name} must be (above|below|at least|at most) .*, got .*: choose a "
                "(larger|smaller)"
            ),
        ):
            check_ranges(changed(CONFIG, name, value))


@pytest.mark.parametrize("name", RANGES)
def test_bounds_are_of_settings_and_hold_the_default(name):
    assert name in [*NUMBERS, *SEVERAL]
    check_ranges(CONFIG)
    limits = RANGES[name]
    ends = {limits.least: not limits.above, limits.most: not limits.below}
    for value, inside in ends.items():
        config = changed(CONFIG, name, (1.0, value) if name in SEVERAL else value)
        if inside:
            check_ranges(config)
        else:
            with pytest.raises(UserError, match=name):
                check_ranges(config)


def test_a_range_without_an_end():
    assert Range(0, 1, above=True) != Range(0, 1)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_number_is_whole(name):
    for value in ("x", None, 1.5, True):
        with pytest.raises(UserError, match=f"{name} must be a whole number, got"):
            check_types(changed(CONFIG, name, value))


@pytest.mark.parametrize(
    "name, value, part",
    [
        ("search.objectives", "mmacs", "search.objectives must be a tuple of strings, got 'mmacs'"),
        ("search.objectives", ("mmacs", 3), "search.objectives must be a tuple of strings"),
        ("profile.device", 3, "profile.device must be a string, got 3"),
        ("space", None, "space must be a string, got None"),
        ("search", None, "search must be a SearchConfig, got None"),
        ("train", TrainConfig, "train must be a TrainConfig"),
        ("data.augmentation.flip", 1, "data.augmentation.flip must be True or False"),
        ("train.learning_rate", "0.1", "train.learning_rate must be a number, got '0.1'"),
        ("latency_limit_ms", "3", "latency_limit_ms must be a number or None"),
        ("weights", "\udcff.npz", "weights must be text in UTF-8"),
        ("search.objectives", ("\udcff",), "search.objectives must be text in UTF-8"),
        ("data.source", "npz:a\0b", "data.source must not hold a NUL"),
    ],
)
def test_settings_of_another_type_are_refused(name, value, part):
    with pytest.raises(UserError, match="^" + part.replace("(", r"\(")):
        check_types(changed(CONFIG, name, value))


def test_a_whole_number_is_a_number():
    check_types(changed(CONFIG, "train.learning_rate", 1))
    check_types(changed(CONFIG, "latency_limit_ms", 3))
