"""The problems that `search.py` gives to every side, each written once.

`xp` is numpy, jax.numpy or torch.

ZDT1-3: Zitzler, Deb & Thiele, Comparison of multiobjective evolutionary algorithms, 2000. DTLZ2:
Deb, Thiele, Laumanns & Zitzler, Scalable multi-objective optimization test problems, 2002. INT31 is
a made-up architecture search: 31 genes of 2 to 5 choices, of which every larger one costs more and,
with diminishing returns, lowers an error, less so beside a neighbour of another size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.variation import Discrete, Real, Variation
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

PI = float(np.pi)
PRICE, WORTH = (tuple(map(float, row)) for row in np.random.default_rng(0).uniform(0.5, 2, (2, 31)))


@dataclass(frozen=True)
class Problem:
    """Minimised functions of genes from `low` to `high`; whole numbers where `integer`."""

    name: str
    function: Callable[[Any, Any], Any]  # genomes (n, genes), xp -> fitness (n, objectives)
    low: tuple[float, ...]
    high: tuple[float, ...]
    objectives: int = 2
    integer: bool = False

    @cached_property
    def space(self) -> Space | Box:
        if not self.integer:
            return Box(self.name, self.low, self.high)
        return Space(
            self.name,
            tuple(Gene(f"g{i}", tuple(range(int(high) + 1))) for i, high in enumerate(self.high)),
        )

    @property
    def variation(self) -> Variation:
        """jaxnas's operators."""
        return Discrete() if self.integer else Real()

    def fitness(self, genomes: jax.Array, data: None) -> jax.Array:
        """For `search_many`."""
        return self.function(genomes, jnp)


def zdt1(x: Any, xp: Any) -> Any:
    """A convex front."""
    first = x[:, 0]
    g = 1 + 9 * x[:, 1:].mean(1)
    return xp.stack([first, g * (1 - xp.sqrt(first / g))], 1)


def zdt2(x: Any, xp: Any) -> Any:
    """A concave front."""
    first = x[:, 0]
    g = 1 + 9 * x[:, 1:].mean(1)
    return xp.stack([first, g * (1 - (first / g) ** 2)], 1)


def zdt3(x: Any, xp: Any) -> Any:
    """A front in five pieces."""
    first = x[:, 0]
    g = 1 + 9 * x[:, 1:].mean(1)
    return xp.stack([first, g * (1 - xp.sqrt(first / g) - first / g * xp.sin(10 * PI * first))], 1)


def dtlz2(x: Any, xp: Any) -> Any:
    """Three objectives: an eighth of a sphere.

    Cosines as sines from the other end: cos(pi / 2) is below 0 in float32, so that there a point
    farther away would be better.
    """
    sin, cos = (xp.sin(angles * (PI / 2)) for angles in (x[:, :2].T, 1 - x[:, :2].T))
    radius = 1 + ((x[:, 2:] - 0.5) ** 2).sum(1)
    sphere = [cos[0] * cos[1], cos[0] * sin[1], sin[0]]
    return xp.stack([radius * coordinate for coordinate in sphere], 1)


def int31(x: Any, xp: Any) -> Any:
    """Cost against error."""
    cost = (x * xp.asarray(PRICE)).sum(1)
    worth = (xp.sqrt(x) * xp.asarray(WORTH)).sum(1)
    return xp.stack([cost, 100 - (1 - abs(x[:, 1:] - x[:, :-1]).sum(1) / 120) * worth], 1)


ZDT1, ZDT2, ZDT3 = (Problem(f.__name__, f, (0.0,) * 30, (1.0,) * 30) for f in (zdt1, zdt2, zdt3))
DTLZ2 = Problem("dtlz2", dtlz2, (0.0,) * 12, (1.0,) * 12, objectives=3)
INT31 = Problem(
    "int31", int31, (0.0,) * 31, tuple(float(1 + i % 4) for i in range(31)), integer=True
)
