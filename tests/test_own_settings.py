"""Settings of one's own, after the name, of algorithms."""

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from jaxnas.algorithms.elitist import Elitist
from jaxnas.algorithms.evolution import RegularizedEvolution
from jaxnas.algorithms.evosax import Evosax
from jaxnas.algorithms.islands import Islands
from jaxnas.algorithms.moead import MOEAD
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.nsga3 import NSGA3
from jaxnas.algorithms.variation import Discrete
from jaxnas.config import ALGORITHMS, SearchConfig, make_algorithm
from jaxnas.errors import UserError
from jaxnas.own_settings import own_settings


def made(name, **settings) -> Any:
    return make_algorithm(SearchConfig(name, **settings))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("nsga2", NSGA2(28, Discrete(0.9, 0.35))),
        ("nsga2:mutation=0.2", NSGA2(28, Discrete(0.9, 0.2))),
        (
            "nsga2:crossover=1:avoid_duplicates=False",
            NSGA2(28, Discrete(1.0, 0.35), avoid_duplicates=False),
        ),
        ("nsga3:divisions=4", NSGA3(28, divisions=4)),
        ("nsga3:divisions=None", NSGA3(28)),
        (
            "moead:neighbours=10:locality=0.8:scalar=weighted_sum",
            MOEAD(28, neighbours=10, locality=0.8, scalar="weighted_sum"),
        ),
        ("islands:count=2:every=3:migrants=5", Islands(28, count=2, every=3, migrants=5)),
        ("evolution:members=40:sample=3", RegularizedEvolution(28, members=40, sample=3)),
        ("elitist:parents=0.5", Elitist(28, objectives=2, parents=0.5)),
        ("evosax", Evosax("CMA_ES", 28)),
        ("evosax:PSO", Evosax("PSO", 28)),
        ("evosax:PSO:weights=2,1", Evosax("PSO", 28, weights=(2.0, 1.0))),
        ("evosax:name=PSO", Evosax("PSO", 28)),
    ],
)
def test_settings_follow_the_name(name, expected):
    assert made(name) == expected


def test_those_of_the_search_are_for_every_algorithm_and_its_own_come_before_them():
    settings = {"population": 12, "crossover": 0.5, "mutation": 0.1}
    assert made("nsga2", **settings) == NSGA2(12, Discrete(0.5, 0.1))
    assert made("islands:mutation=0.2", **settings) == Islands(12, Discrete(0.5, 0.2))
    assert made("moead", limits=("latency_ms=3",)).limits == (None, 3.0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_setting_of_a_dataclass_can_be_written(name):
    """Its default, as Python writes it, gives the same algorithm."""
    algorithm = made(name)
    parts = [value for value in vars(algorithm).values() if is_dataclass(value)]
    texts = []
    for setting in own_settings(ALGORITHMS[name]):
        value = next(getattr(one, setting) for one in (algorithm, *parts) if hasattr(one, setting))
        if value != ():
            texts.append(f"{setting}={value}")
    assert made(":".join([name, *texts])) == algorithm
    left_out = {"population", "objectives", "limits", "constraints"}
    left_out |= {"variation", "weights", "policy", "reward"}
    assert {field.name for field in fields(algorithm)} - left_out <= {
        text.partition("=")[0] for text in texts
    }


@pytest.mark.parametrize(
    "name, message",
    [
        ("sgd:mutation=0.2", "unknown algorithm 'sgd'; known: bayesian, elitist"),
        ("nsga2:PSO", "unknown algorithm 'nsga2:PSO'; known: bayesian, elitist"),
        ("evosax:Best", "unknown evosax algorithm 'Best'; known: "),
        (
            "nsga2:neighbours=3",
            "unknown setting 'neighbours' of nsga2; known: crossover, mutation, avoid_duplicates (",
        ),
        (
            "moead:population=3",
            "avoid_duplicates (search.population, search.objectives, search.limits, "
            "search.constraints are set for all",
        ),
        ("random:mutation=0.2", "unknown setting 'mutation' of random; known: none"),
        ("evolution:mutation=0.2", "unknown setting 'mutation' of evolution; known: members, "),
        ("elitist:mutation=0.2", "of elitist; known: crossover, avoid_duplicates, parents"),
        ("nsga2:mutation=0.2:mutation=0.3", "sets mutation twice: leave one out"),
        ("evosax:PSO:name=xNES", "sets name twice: leave one out"),
        ("nsga2:mutation=much", "mutation of nsga2 must be a number up to 1000000, got 'much'"),
        ("nsga2:mutation=nan", "mutation of nsga2 must be a number up to 1000000, got 'nan'"),
        ("nsga2:mutation=0.2:PSO", "mutation of nsga2 must be a number up to 1000000"),
        ("nsga2:mutation=2", "mutation must be a probability from 0 to 1, got 2"),
        ("moead:neighbours=1.5", "neighbours of moead must be a whole number up to 1000000"),
        ("moead:neighbours=10000000", "neighbours of moead must be a whole number up to 1000000"),
        ("nsga2:avoid_duplicates=no", "avoid_duplicates of nsga2 must be True or False, got 'no'"),
        ("evosax:PSO:weights=2;1", "weights of evosax must be numbers up to 1000000, as 2,1, got"),
        ("nsga3:divisions=few", "divisions of nsga3 must be a whole number up to 1000000, or None"),
        ("nsga3:divisions=200000", "divisions must give at most 100000 reference directions"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        made(name)
    assert "\n" not in str(caught.value)


MINE = """
from __future__ import annotations

from dataclasses import dataclass, field

from jaxnas.algorithms.random_search import RandomSearch


@dataclass(frozen=True)
class Mine(RandomSearch):
    start: float = 1.0
    cooling: int | None = None


@dataclass(frozen=True)
class Needy(RandomSearch):
    start: float = field(kw_only=True)


def function(settings):
    return Mine(settings.population, settings.mutation)
"""


def test_an_algorithm_of_ones_own_has_settings_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    mine = made(f"{path}:Mine:start=0.5:cooling=7", population=9)
    assert (mine.population, mine.start, mine.cooling) == (9, 0.5, 7)
    assert made(f"{path}:Mine") == type(mine)(28)
    assert made(f"{path}:function", mutation=0.1) == type(mine)(28, 0.1)
    assert made(f"{path}:Needy:start=2").start == 2
    with pytest.raises(UserError, match="Needy needs the setting start, which has no default"):
        made(f"{path}:Needy")
    with pytest.raises(
        UserError, match=r"unknown setting 'end' of .*mine\.py:Mine; known: start, c"
    ):
        made(f"{path}:Mine:end=0.5")
    with pytest.raises(UserError, match=r"'start' of .*mine\.py:function; known: none"):
        made(f"{path}:function:start=0.5")
