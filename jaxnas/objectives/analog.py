"""How networks do on analog chips: their error some time after programming, and how it varies.

One evaluation of a network serves all of these: so many programmings of the chip, each read at all
times that the search names. Time is written as `1s`, `60s`, `1h`, `1day` or `30days`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.numerics.analog import InMemory
from jaxnas.objectives.objective import Context, Evaluation, EvaluationInputs, Objective
from jaxnas.plugins import Name, named
from jaxnas.training.evaluate_analog import Trials, analog_accuracies
from jaxnas.types import Genomes

ERROR, VARIATION, DEVIATION = FAMILIES = (
    "analog_error",
    "analog_variation",
    "analog_deviation",
)
DAY = 86400.0
SOON, MONTH = 1.0, 30 * DAY  # between which accuracy varies (AnalogNAS's AVM)
UNITS = {
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "day": DAY,
    "days": DAY,
}
POINTS = 100.0
Found = Float[Array, "n programmings times"]


@dataclass(frozen=True)
class AnalogConfig:
    """The chip that the analog objectives are of, and how often it is programmed."""

    chip: Name | None = None
    """pcm, hermes, hermes_one, reram, or the path of a .toml file that describes an analog chip; by
    default profile.device where that is one, else pcm."""
    programmings: int = 25
    """Of every candidate, each read at all times that the objectives name. A candidate costs so
    many evaluations for each of the times."""

    def __post_init__(self):
        if self.chip is not None:
            object.__setattr__(self, "chip", named(self.chip))


def is_analog(name: str) -> bool:
    """Whether an objective of this name is one of these."""
    return name.partition("@")[0] in FAMILIES


def times_of(names: Sequence[str]) -> tuple[float, ...]:
    """All times, in seconds, that objectives ask for; those of others ask for none.

    >>> times_of(["error", "analog_error@1day", "analog_variation"])
    (1.0, 86400.0, 2592000.0)
    """
    found: set[float] = set()
    for name in filter(is_analog, names):
        family = name.partition("@")[0]
        found |= {SOON, MONTH} if family == VARIATION and "@" not in name else {seconds(name)}
    return tuple(sorted(found))


def seconds(name: str) -> float:
    """The time in the name of an objective.

    >>> seconds("analog_error@1day"), seconds("analog_error@2.5h")
    (86400.0, 9000.0)

    Raises:
        UserError: there is none.
    """
    family, at, text = name.partition("@")
    if family == VARIATION:
        raise UserError(
            f"{VARIATION} is that from 1 s to 30 days, and takes no time, got {name}: write "
            f"{VARIATION}"
        )
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|h|days?)", text)
    if not at or match is None:
        raise UserError(
            f"{family} needs the time after programming, a number and s, min, h or days, got "
            f"{name[:60]}: write {family}@1day"
        )
    return float(match[1]) * UNITS[match[2]]


def analog(name: str) -> Callable[[Context], Objective]:
    """What makes the objective of this name, one of `FAMILIES` with its time."""
    family = name.partition("@")[0]
    if family == VARIATION:
        times_of([name])  # raises what there is to raise
        return variation
    t = seconds(name)
    return partial(MAKE[family], name=name, t=t)


def analog_error(context: Context, name: str, t: float) -> Objective:
    """Share of the search images that the chip gets wrong so long after programming, on average."""
    memory, trials = tried(context)
    at = trials.times_s.index(t)
    label = f"error on {memory.name}, {name.partition('@')[2]} after programming"
    return _objective(
        context, name, "share of images", label, lambda found: 1 - found[..., at].mean(1)
    )


def analog_deviation(context: Context, name: str, t: float) -> Objective:
    """Standard deviation of the accuracy over programmings, in points; of the sample."""
    memory, trials = tried(context)
    at = trials.times_s.index(t)
    if trials.programmings < 2:
        raise UserError(
            f"{DEVIATION} is that over programmings, and search.analog.programmings is "
            f"{trials.programmings}: write 2 or more"
        )
    label = f"deviation over programmings of {memory.name} (points)"
    return _objective(
        context, name, "points", label, lambda found: POINTS * found[..., at].std(1, ddof=1)
    )


def variation(context: Context) -> Objective:
    """Accuracy 1 s after programming less that after 30 days, in points, at least 0 on average."""
    memory, trials = tried(context)
    soon = trials.times_s.index(SOON)
    late = trials.times_s.index(MONTH)
    label = f"accuracy lost on {memory.name} in a month (points)"

    def lost(found: Found) -> Float[Array, "n"]:
        return POINTS * (found[..., soon] - found[..., late]).mean(1)

    return _objective(context, VARIATION, "points", label, lost)


MAKE: dict[str, Callable[..., Objective]] = {
    ERROR: analog_error,
    DEVIATION: analog_deviation,
}


def tried(context: Context) -> tuple[InMemory, Trials]:
    """The memory of the chip, and how it is tried."""
    if context.analog is None:
        raise ValueError("analog objectives need a memory and its trials")
    return context.analog


def _objective(
    context: Context, name: str, unit: str, label: str, figure: Callable[[Found], Float[Array, "n"]]
) -> Objective:
    shared = context.shared.setdefault(ERROR, evaluation(context))

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return figure(shared(genomes, inputs))

    return Objective(name, unit, label, measure, (shared, figure))


def evaluation(context: Context) -> Evaluation:
    """Accuracies over programmings and times; NaN of genomes of another static gene."""
    net = context.net
    memory, trials = tried(context)
    for t in trials.times_s:
        memory.check_time(t)
    key_data = jax.random.key_data(trials.key)

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Found:
        live = net.space.resolution_choices(genomes) == inputs.static
        own = trials._replace(key=jax.random.wrap_key_data(key_data))
        return analog_accuracies(
            net,
            inputs.params,
            genomes,
            live,
            inputs.examples,
            memory,
            own,
            memory_gib=context.memory_gib,
            mesh=context.mesh,
        )

    return measure
