"""Resistive memory cells: how far a conductance is from its target, at programming and later.

Conductances in microsiemens, times in seconds. r is a target as a share of the largest
conductance. Models and coefficients are those of aihwkit 1.2.0 (`inference.noise`): PCM, HERMES
(the 64-core chip of Le Gallo et al., Nature Electronics 6, 2023) and ReRAM by Wan et al. (2022).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas import toml_files
from jaxnas.errors import UserError, choose

LEAST_SHARE = 1e-7  # whose logarithm stands for that of 0
Values = Float[Array, "*n"]


@dataclass(frozen=True)
class Curve:
    """A quantity by r: clip(a ln r + b, least, most) below `split`, a polynomial from there on.

    With `power` (a, b, least, most) it is min(a / max(r^b, least), most) instead.
    """

    low: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    split: float = math.inf
    high: tuple[float, ...] = ()
    power: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("low", "power"):
            row = getattr(self, name)
            if len(row) != 4 and (row or name == "low"):
                raise UserError(f"{name} must be four numbers, a, b, least and most, got {row}")

    def __call__(self, r: Values) -> Values:
        if self.power:
            a, b, least, most = self.power
            return jnp.minimum(a / jnp.maximum(r**b, least), most)
        a, b, least, most = self.low
        low = jnp.clip(a * jnp.log(jnp.maximum(r, LEAST_SHARE)) + b, least, most)
        return jnp.where(r < self.split, low, polynomial(self.high, r)) if self.high else low


NOTHING = Curve()


@dataclass(frozen=True)
class Cell:
    """A kind of cell; a weight is the difference of two.

    The deviation of programming is a polynomial of r, its coefficients from the constant on, one
    row for each of `times_s`; without these a single row holds at any time. The polynomial was
    fitted at `fitted_g_max`; for another `g_max` its values are scaled.
    """

    g_max: float
    programming: tuple[tuple[float, ...], ...]
    fitted_g_max: float = 0.0  # 0: `g_max`
    times_s: tuple[float, ...] = ()
    drift_mean: Curve = NOTHING
    drift_deviation: Curve = NOTHING
    read: Curve = NOTHING  # Q_s, low-frequency noise as a share of the conductance
    t_0: float = 20.0  # of the first read after programming
    t_read: float = 250e-9
    programming_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0

    def __post_init__(self):
        if len(self.programming) != max(len(self.times_s), 1):
            raise UserError(
                f"programming must have a row of coefficients for each of times_s, or a single one "
                f"without, got {len(self.programming)} rows and {len(self.times_s)} times"
            )
        for name in ("g_max", "t_0", "t_read"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("programming_scale", "drift_scale", "read_scale", "fitted_g_max"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be at least 0, got {getattr(self, name)}")

    def check_time(self, t: float) -> None:
        """Refuses a time at which nothing is known of the cell."""
        if not 0 <= t < math.inf:
            raise UserError(f"a time after programming must be 0 s or more, got {t}")
        if self.times_s and t not in self.times_s:
            known = ", ".join(f"{time:g}" for time in self.times_s)
            raise UserError(f"this cell was measured {known} s after programming, got {t:g}")

    def deviation(self, target: Values, t: Float[Array, ""]) -> Values:
        """Of the programmed conductance from its target; NaN at a time that is not known."""
        r = target / self.g_max
        rows = jnp.stack([polynomial(row, r) for row in self.programming])
        scale = self.programming_scale * self.g_max / (self.fitted_g_max or self.g_max)
        if not self.times_s:
            return scale * rows[0]
        here = jnp.asarray(self.times_s, jnp.float32) == t
        return jnp.where(here.any(), scale * rows[jnp.argmax(here)], jnp.nan)

    def programmed(self, target: Values, normal: Values, t: Float[Array, ""]) -> Values:
        """The conductance of cells whose programming drew `normal`, before drift.

        A cell that is known at several times keeps its draw (assumed: the source gives deviations
        alone).
        """
        return jnp.maximum(target + self.deviation(target, t) * normal, 0.0)

    def exponent(self, target: Values, normal: Values) -> Values:
        """How fast a cell drifts: drawn once, by its target."""
        r = target / self.g_max
        drawn = jnp.abs(self.drift_mean(r) + self.drift_deviation(r) * normal)
        return self.drift_scale * drawn

    def drifted(self, programmed: Values, exponent: Values, t: Float[Array, ""]) -> Values:
        return programmed * ((t + self.t_0) / self.t_0) ** -exponent

    def read_noise(self, programmed: Values, drifted: Values, t: Float[Array, ""]) -> Values:
        """The deviation of a read."""
        share = self.read_scale * self.read(programmed / self.g_max)
        return drifted * share * self.growth(t)

    def growth(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """How read noise grows: 1/f noise from the time of a read to the time since programming."""
        return jnp.sqrt(jnp.log((t + self.t_0 + self.t_read) / (2 * self.t_read)))


def polynomial(coefficients: tuple[float, ...], r: Values) -> Values:
    """Coefficients from the constant on."""
    value = jnp.zeros_like(r)
    for coefficient in reversed(coefficients):
        value = value * r + coefficient
    return value


PCM = Cell(
    g_max=25.0,
    fitted_g_max=25.0,
    programming=((0.26348, 1.9650, -1.1731),),
    drift_mean=Curve((-0.0155, 0.0244, 0.049, 0.1)),
    drift_deviation=Curve((-0.0125, -0.0059, 0.008, 0.045)),
    read=Curve(power=(0.0088, 0.65, 1e-3, 0.2)),
)
HERMES_MEAN = Curve((-0.0387, -0.0182, 0.0720, 0.13), 0.0945, (0.0736, -0.0126, -0.0436))
HERMES = Cell(
    g_max=20.7,
    fitted_g_max=20.7,
    programming=((0.16603, 4.71806, -8.48101, 4.68961),),
    drift_mean=HERMES_MEAN,
    drift_deviation=Curve((-0.0117, -0.0057, 0.0091, 0.04), 0.3055, (0.0073, 0.0093, -0.0118)),
    read=Curve((-0.0117, -0.0069, 0.015, 0.04), 0.16, (0.0123, 0.0211, -0.0280, 0.0069)),
    t_0=300.0,
    t_read=512e-9,
)
"""Two devices a conductance."""
HERMES_ONE = Cell(
    g_max=10.35,
    fitted_g_max=10.35,
    programming=((0.15782, 2.32444, -2.16311, 0.68842),),
    drift_mean=HERMES_MEAN,
    drift_deviation=Curve((-0.0120, -0.0023, 0.0124, 0.04), 0.3039, (0.0104, 0.0116, -0.0165)),
    read=Curve((-0.0078, 0.0038, 0.0179, 0.04), 0.1591, (0.0088, 0.0768, -0.1352, 0.0664)),
    t_0=200.0,
    t_read=512e-9,
)
"""One device a conductance."""
RERAM = Cell(
    g_max=40.0,
    fitted_g_max=40.0,
    programming=(
        (0.348, 16.030, -43.853, 45.393, -16.815),
        (0.701, 22.086, -50.773, 47.095, -16.458),
        (0.782, 20.274, -43.507, 37.062, -11.934),
    ),
    times_s=(1.0, 86400.0, 172800.0),
)
"""Known 1 s, 1 day and 2 days after programming; drift and read noise are within its deviations."""

CELLS = {"pcm": PCM, "hermes": HERMES, "hermes_one": HERMES_ONE, "reram": RERAM}


def load(where: str, given: str | Mapping[str, Any]) -> Cell:
    """A cell of a file: one of `CELLS` by name, or a table of the fields of `Cell`."""
    if isinstance(given, str):
        return choose(f"{where}: cell", given, CELLS)
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: cell must be a name or a table, got {given!r}")
    curves = {}
    for one in fields(Cell):
        if one.type is Curve:
            row = given.get(one.name, {})
            if not isinstance(row, Mapping):
                raise UserError(f"{where}: cell.{one.name} must be a table, got {row!r}")
            curves[one.name] = toml_files.made(Curve, f"{where}: cell.{one.name}", row, {})
    plain = {name: value for name, value in given.items() if name not in curves}
    return toml_files.made(Cell, f"{where}: cell", plain, curves)
