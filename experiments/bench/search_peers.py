"""The peers of `search.py`: NSGA-II of pymoo, evox and DEAP, each as its own documentation runs it.

Every function makes a run: seed to the fitness of the last population (population, objectives), the
initial population being the first of `generations`. Each peer evaluates a whole population in one
call, with the same function.
"""

import random
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from deap import base, tools  # pyright: ignore[reportMissingImports]
from evox.algorithms import NSGA2 as EvoxNSGA2  # pyright: ignore[reportMissingImports]
from evox.core import Problem as EvoxProblem  # pyright: ignore[reportMissingImports]
from evox.core import compile as evox_compile  # pyright: ignore[reportMissingImports]
from evox.workflows import StdWorkflow  # pyright: ignore[reportMissingImports]
from moocore import hypervolume, pareto_rank
from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize
from search_problems import Problem

__all__ = ["deap", "evox", "hypervolume", "pareto_rank", "pymoo", "versions"]

Run = Callable[[int], np.ndarray]


def versions() -> dict[str, str]:
    """What is compared with."""
    return {name: version(name) for name in ("pymoo", "moocore", "evox", "torch", "deap")}


class _Pymoo(PymooProblem):
    def __init__(self, problem: Problem):
        kind = int if problem.integer else float
        low = np.array(problem.low, kind)
        high = np.array(problem.high, kind)
        super().__init__(n_var=len(low), n_obj=problem.objectives, xl=low, xu=high, vtype=kind)
        self.function = problem.function

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = self.function(x, np)


def pymoo(problem: Problem, population: int, generations: int, unique: bool) -> Run:
    """pymoo's defaults.

    Whole numbers by its operators for real ones, rounded, as its manual advises.
    """
    posed = _Pymoo(problem)
    options = {}
    if problem.integer:
        operators = {"prob": 1.0, "eta": 3.0, "vtype": float, "repair": RoundingRepair()}
        options = {
            "sampling": IntegerRandomSampling(),
            "crossover": SBX(**operators),
            "mutation": PM(**operators),
        }

    def run(seed: int) -> np.ndarray:
        algorithm = PymooNSGA2(pop_size=population, eliminate_duplicates=unique, **options)
        result: Any = minimize(
            posed, algorithm, ("n_gen", generations), seed=seed, copy_algorithm=False
        )
        return result.pop.get("F")

    return run


class _Evox(EvoxProblem):
    def __init__(self, problem: Problem):
        super().__init__()
        self.function = problem.function
        self.integer = problem.integer

    def evaluate(self, pop):
        return self.function(torch.round(pop) if self.integer else pop, torch)


def evox(problem: Problem, population: int, generations: int, compiled: bool) -> Run:
    """evox's defaults, eager or with its step compiled.

    Whole numbers are rounded where they are evaluated.
    """
    low = torch.tensor(problem.low)
    high = torch.tensor(problem.high)
    workflow = _any(StdWorkflow)(
        EvoxNSGA2(population, problem.objectives, low, high), _Evox(problem)
    )
    step = _any(evox_compile(workflow.step) if compiled else workflow.step)

    def run(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        # A new workflow would compile anew.
        workflow.algorithm.pop = low + (high - low) * torch.rand(population, len(low))
        workflow.init_step()
        for _ in range(generations - 1):
            step()
        return workflow.algorithm.fit.numpy().copy()

    return run


def _any(value: Any) -> Any:
    """A value whose published types are wrong."""
    return value


class _Two(base.Fitness):
    weights = (-1.0,) * 2


class _Three(base.Fitness):
    weights = (-1.0,) * 3


class _Individual(list):
    def __init__(self, genes, fitness):
        super().__init__(genes)
        self.fitness = fitness


def deap(problem: Problem, population: int, generations: int) -> Run:
    """The NSGA-II example of DEAP with its faster sort and pymoo's settings.

    Whole numbers by uniform crossover and reset.
    """
    toolbox = _any(base.Toolbox())
    genes = len(problem.low)
    fitness = {2: _Two, 3: _Three}[problem.objectives]
    low, high = _any(
        [[int(x) if problem.integer else x for x in bound] for bound in (problem.low, problem.high)]
    )

    def mate(one, other):
        tools.cxUniform(one, other, 0.5) if problem.integer else tools.cxSimulatedBinaryBounded(
            one, other, 15.0, low, high
        )

    def mutate(one):
        odds = 1 / genes
        tools.mutUniformInt(
            one, low, high, odds
        ) if problem.integer else tools.mutPolynomialBounded(one, 20.0, low, high, odds)

    def evaluate(individuals):
        for individual, values in zip(
            individuals, problem.function(np.array(individuals), np).tolist(), strict=True
        ):
            individual.fitness.values = values

    def run(seed: int) -> np.ndarray:
        random.seed(seed)
        draw = random.randint if problem.integer else random.uniform
        members = [_Individual(map(draw, low, high), fitness()) for _ in range(population)]
        evaluate(members)
        members = tools.selNSGA2(members, population, nd="log")
        for _ in range(generations - 1):
            children = [
                toolbox.clone(member) for member in tools.selTournamentDCD(members, population)
            ]
            for one, other in zip(children[::2], children[1::2], strict=True):
                if random.random() <= 0.9:
                    mate(one, other)
                mutate(one)
                mutate(other)
            evaluate(children)
            members = tools.selNSGA2(members + children, population, nd="log")
        return np.array([member.fitness.values for member in members])

    return run
