"""Genomes that a search begins with (`search.initial`): typed, of a file, or of another run."""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import Algorithm
from jaxnas.algorithms.seeded import Seeded
from jaxnas.config import Config, make_method
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.line_files import plain
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.genomes import distinct, first_rows
from jaxnas.spaces.space import Space
from jaxnas.training.method import Bilevel

EXPECTED = "the genomes themselves, as 0 2 1, a file of them (.npz, .json or text), or a run"
APART = r"[\s,;]+"
# Of what a run's space.json holds: a genome means as much whatever the images are.
OF_IMAGES = ("name", "channels", "classes", "largest")

Rows = Int32[np.ndarray, "n genes"]


def initial_genomes(text: str, space: Space, room: int) -> Rows:
    """The different networks that `search.initial` names, in order, at most `room` of them.

    Of a run, or a file with fitness, the front; of a larger one those that crowd each other least.

    Raises:
        UserError: nothing is there, it is of another space, or more are named than fit and nothing
            is known of which are better.
    """
    genomes, fitness = _named(text, space)
    what = f"search.initial {text[:60]!r}"
    if not len(genomes):
        raise UserError(f"{what} names no genome: write {EXPECTED}")
    if genomes.shape[1] != len(space.genes):
        raise UserError(
            f"{what} has genomes of {genomes.shape[1]} choices, but the space {space.name} has "
            f"{len(space.genes)} genes: name genomes of this space"
        )
    for gene, column in zip(space.genes, genomes.T, strict=True):
        if not ((column >= 0) & (column < len(gene.choices))).all():
            wrong = column[(column < 0) | (column >= len(gene.choices))][0]
            raise UserError(
                f"{what} has the choice {wrong} for the gene {gene.name} of {space.name}, which "
                f"has 0 to {len(gene.choices) - 1}: name genomes of this space"
            )
    if fitness is None:
        found = distinct(space, genomes)
    else:
        found = _best(space, genomes.astype(np.int32), fitness, max(room, 1))
    if not len(found):
        raise UserError(f"{what} names no genome whose evaluation succeeded: name another")
    if len(found) > room:
        raise UserError(
            f"{what} names more networks ({len(found)}) than fit into the first generation "
            f"({room}): name fewer, or choose a larger search.population"
        )
    return found


def beginning_with(algorithm: Algorithm, genomes: Iterable[Any]) -> Algorithm:
    """The algorithm, whose first candidates are these; itself where there are none."""
    given = tuple(tuple(int(choice) for choice in genome) for genome in genomes)
    return Seeded(algorithm, given) if given else algorithm


def of_settings(config: Config, space: Space) -> Rows:
    """What `search.initial` names, as far as there is room beside the networks derived."""
    if config.search.initial is None:
        return np.zeros((0, len(space.genes)), np.int32)
    room = config.search.population - networks_derived(config, space)
    return initial_genomes(config.search.initial, space, room)


def networks_derived(config: Config, space: Space) -> int:
    """How many networks a search by gradient leaves, which are candidates as well."""
    if not config.train.epochs or not isinstance(make_method(config.train), Bilevel):
        return 0
    return config.train.relaxed.architectures * len(space.resolutions)


def _best(
    space: Space, genomes: Rows, fitness: Float[np.ndarray, "n objectives"], room: int
) -> Int32[np.ndarray, "networks genes"]:
    """The different networks of the front, those that crowd each other least first."""
    rows = pareto.front_rows(fitness)
    rows = rows[first_rows(space, genomes[rows])]
    front = jnp.asarray(fitness[rows])
    crowding = pareto.crowding(front, jnp.zeros(len(rows), jnp.int32))
    order = np.argsort(-np.asarray(crowding), kind="stable")[:room]
    return np.asarray(space.canonical(genomes[rows[np.sort(order)]]), np.int32)


def _named(text: str, space: Space) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of choices, and their fitness where it is known."""
    path = os.path.expanduser(text)
    if os.path.isdir(path):
        return _of_run(path, space)
    if not os.path.isfile(path):
        return _of_text(text, text, space), None
    try:
        if path.endswith(".npz"):
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = np.asarray(arrays["genomes"])
                fitness = _fitness(arrays.get("fitness"), len(found))
                return _checked(text, found), _within(fitness, arrays.get("feasible"))
        with open(path, encoding="utf-8") as lines:
            written = lines.read()
        if path.endswith(".json"):
            return _checked(text, np.array(_of_json(json.loads(written)))), None
    except Exception as error:  # a damaged .npz fails in a dozen ways
        raise UserError(
            f"search.initial {text[:60]!r} holds no genomes ({type(error).__name__}: "
            f"{str(error)[:80]}): name {EXPECTED}"
        ) from error
    return _of_text(text, written, space), None


def _checked(text: str, rows: np.ndarray) -> np.ndarray:
    if rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise ValueError(f"expected rows of choices, got {rows.dtype} of shape {rows.shape}")
    return rows


def _fitness(fitness: np.ndarray | None, rows: int) -> np.ndarray | None:
    if fitness is not None and (fitness.ndim != 2 or len(fitness) != rows):
        raise ValueError(f"expected fitness of {rows} genomes, got shape {fitness.shape}")
    return fitness


def _of_run(path: str, space: Space) -> tuple[np.ndarray, np.ndarray | None]:
    """What its search has evaluated within its limits."""
    run = RunDirectory(path)
    if not run.exists(CANDIDATES):
        raise UserError(f"search.initial {path} has no {CANDIDATES}: name a run that has searched")
    if _structure(space, run.read_json("space.json")) != _structure(space, space.settings):
        raise UserError(
            f"search.initial {path} is a run in another space than {space.name}: name one in the "
            "same space"
        )
    searched = read_searched(run, CANDIDATES)
    return searched.archive.genomes, _within(searched.archive.fitness, searched.feasible)


def _within(fitness: np.ndarray | None, feasible: np.ndarray | None) -> np.ndarray | None:
    """The fitness, NaN of candidates beyond limits and constraints where any is within."""
    if fitness is None or feasible is None or not feasible.any():
        return fitness
    return np.where(feasible[:, None], fitness, np.nan)


def _structure(space: Space, saved: Any) -> Any:
    """What decides what a genome means; None where it is of another family."""
    try:
        whole = plain(space.completed(plain(saved)))
        return {name: value for name, value in whole.items() if name not in OF_IMAGES}
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _of_text(what: str, written: str, space: Space) -> np.ndarray:
    """Choices in the order of the genes, one genome after another."""
    words = [word for word in re.split(APART, written.strip()) if word]
    genes = len(space.genes)
    if not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        wrong = (
            "is neither there nor genomes" if what == written else "holds other words than choices"
        )
        raise UserError(f"search.initial {what[:60]!r} {wrong}: name {EXPECTED}")
    if len(words) % genes:
        raise UserError(
            f"search.initial {what[:60]!r} has {len(words)} choices, but a genome of {space.name} "
            f"has {genes}: write that many for each"
        )
    return np.array([int(word) for word in words], np.int64).reshape(-1, genes)


def _of_json(value: Any) -> list[list[int]]:
    """Genomes as lists or texts, or as what is called so in a list of networks (chosen.json)."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list of genomes, got {type(value).__name__}")
    each = [one["genome"] if isinstance(one, dict) else one for one in value]
    return [
        [int(word) for word in re.split(APART, one.strip())] if isinstance(one, str) else one
        for one in each
    ]
