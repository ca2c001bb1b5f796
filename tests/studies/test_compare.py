"""`jaxnas compare`: on a table at once, on a finished run through the command.

And what its files say.
"""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxnas.algorithms.loop import Archive
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.pareto import front
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.algorithms.variation import Real
from jaxnas.config import ALGORITHMS, Config, SearchConfig
from jaxnas.errors import UserError
from jaxnas.experiment import load_config
from jaxnas.records import cache
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.compare import answer, comparison_rows, write_comparison
from jaxnas.report.compare_charts import attained, attainments
from jaxnas.report.said import Said
from jaxnas.report.tables import latex_table, text_table
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space
from jaxnas.stages import evaluation as stage
from jaxnas.stages import shared
from jaxnas.stages.job import open_job
from jaxnas.studies import compare
from jaxnas.studies.compare import (
    Problem,
    check_problem,
    choose_algorithms,
    compare_searches,
    run_compare,
)
from jaxnas.studies.statistics import compare_all

SPACE = Space("board", tuple(Gene(f"g{i}", (0, 1, 2, 3)) for i in range(6)))
SETTINGS = SearchConfig(population=8, generations=10)


def look_up(genomes, table):
    return table[(genomes * 4 ** jnp.arange(6, dtype=jnp.int32)).sum(axis=1)]


@pytest.fixture(scope="module")
def table():
    """Fitness of all 4,096 genomes: cost, and an error that falls with it on the whole."""
    genomes = np.arange(4**6)[:, None] // 4 ** np.arange(6) % 4
    draw = np.random.default_rng(0)
    cost = genomes @ draw.uniform(1, 3, 6)
    error = (
        100
        - np.sqrt(genomes) @ draw.uniform(2, 6, 6)
        - (genomes[:, 1:] == genomes[:, :-1]).sum(axis=1)
    )
    return jnp.asarray(np.stack([error, cost], axis=1), jnp.float32)


def board(table, traced):
    return Problem(SPACE, ("error", "cost"), look_up, "board", table, traced)


@pytest.fixture(scope="module")
def compared(table, tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("compared"))
    compare_searches(
        run, board(table, True), choose_algorithms(["nsga2"], SETTINGS), SETTINGS, range(5, 17)
    )
    return run, write_comparison(run)


# Searches


def test_one_program_and_one_search_after_another_are_the_same(table, compared, tmp_path):
    run, _ = compared
    other = RunDirectory(tmp_path)
    host = Problem(
        SPACE,
        ("error", "cost"),
        lambda genomes, table: np.asarray(look_up(jnp.asarray(genomes), table)),
        "board",
        table,
    )
    compare_searches(other, host, choose_algorithms(["nsga2"], SETTINGS), SETTINGS, range(5, 8))
    together = run.read_npz("compare/compare.npz")
    in_turn = other.read_npz("compare/compare.npz")
    assert in_turn["algorithms"].tolist() == ["nsga2", "random"] and in_turn["seed"].tolist() == [
        5,
        6,
        7,
    ]
    for name in ("nsga2", "random"):
        for field in ("genomes", "fitness", "generation", "parents"):
            np.testing.assert_array_equal(
                together[f"{name}_{field}"][:3], in_turn[f"{name}_{field}"]
            )
    # Every seed is another search.
    assert len(np.unique(together["nsga2_genomes"][:, :8], axis=0)) == 12


def test_only_what_is_missing_is_searched(table, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    calls = []

    def search_many(algorithm, space, keys, fitness, generations, data):
        """Archives that name their keys."""
        calls.append((type(algorithm).__name__, len(keys)))
        told = np.repeat(np.arange(generations, dtype=np.int32), algorithm.population)
        parents = np.full((len(keys), 80, 2), -1, np.int32)
        genomes = (
            np.asarray(jax.random.key_data(keys)[:, None, :1] % 4)
            .astype(np.int32)
            .repeat(80, axis=1)
            .repeat(6, axis=2)
        )
        return Archive(
            genomes, np.asarray(fitness(genomes, data)), np.tile(told, (len(keys), 1)), parents
        )

    monkeypatch.setattr(compare, "search_many", search_many)

    def again(names, settings, seeds):
        calls.clear()
        compare_searches(
            run, board(table, True), choose_algorithms(names, settings), settings, seeds
        )
        return calls

    assert again(["nsga2"], SETTINGS, range(3)) == [("NSGA2", 3), ("RandomSearch", 3)]
    before = run.read_bytes("compare/compare.npz")
    assert (
        again(["nsga2"], SETTINGS, range(3)) == []
        and run.read_bytes("compare/compare.npz") == before
    )
    assert again(["nsga2"], SETTINGS, range(5)) == [("NSGA2", 2), ("RandomSearch", 2)]
    assert again(["nsga2"], replace(SETTINGS, mutation=0.5), range(2)) == [
        ("NSGA2", 2),
        ("RandomSearch", 2),
    ]
    assert (
        again(["nsga2"], SETTINGS, range(3)) == []
        and run.read_bytes("compare/compare.npz") == before
    )
    two = ["nsga2:mutation=0.2", "nsga2:mutation=0.5"]
    assert again(two, SETTINGS, range(2)) == [("NSGA2", 2), ("NSGA2", 2)]
    assert run.read_npz("compare/compare.npz")["algorithms"].tolist() == [*two, "random"]
    for file in (tmp_path / "compare/searches").glob("nsga2-1-*"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"corrupt: .*nsga2-1-.*delete the file"):
        again(["nsga2"], SETTINGS, range(2))


def test_random_search_is_always_there_and_unknown_names_are_refused():
    assert list(choose_algorithms(["nsga2", "random", "nsga2"], SETTINGS)) == ["nsga2", "random"]
    with pytest.raises(UserError, match=r"unknown algorithm 'sgd'; known: .*nsga2.*random"):
        choose_algorithms(["sgd"], SETTINGS)
    with pytest.raises(UserError, match="one other than random"):
        choose_algorithms(["random"], SETTINGS)


def test_each_algorithm_has_settings_of_its_own():
    names = ["nsga2:mutation=0.2", "nsga2", "moead:mutation=1:neighbours=3"]
    found: dict[str, Any] = choose_algorithms(names, replace(SETTINGS, mutation=0.5))
    assert [found[name].variation.mutation for name in names] == [0.2, 0.5, 1.0]


def test_a_budget_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "odd", lambda settings: RandomSearch(7))
    with pytest.raises(
        UserError, match="odd evaluates 7 candidates at a time, which does not divide the 80"
    ):
        choose_algorithms(["odd"], SETTINGS)
    assert choose_algorithms(["odd"], replace(SETTINGS, generations=7))["odd"].population == 7


def test_algorithms_with_other_populations_have_the_same_budget(table, tmp_path, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "steady", lambda settings: RandomSearch(2))
    run = RunDirectory(tmp_path)
    compare_searches(
        run, board(table, True), choose_algorithms(["steady"], SETTINGS), SETTINGS, range(2)
    )
    arrays = run.read_npz("compare/compare.npz")
    assert arrays["steady_genomes"].shape == arrays["random_genomes"].shape == (2, 80, 6)
    assert arrays["steady_generation"].max() == 39
    assert "steady" in write_comparison(run)


# What it says


def told(final):
    pairs = compare_all(final)
    rows = comparison_rows(final, pairs)
    return rows, answer(rows, pairs)


def test_rows_are_the_tests_of_the_final_hypervolumes():
    draw = np.random.default_rng(0)
    final = {
        "a": draw.normal(1, 1, 20),
        "b": draw.normal(3, 1, 20),
        "random": draw.normal(0, 1, 20),
    }
    pairs = compare_all(final)
    rows = {row["algorithm"]: row for row in comparison_rows(final, pairs)}
    assert list(rows) == ["b", "a", "random"]
    assert [rows["a"][q] for q in ("q1", "median", "q3")] == np.quantile(
        final["a"], [0.25, 0.5, 0.75]
    ).tolist()
    for label, other in (("random", "random"), ("first", "b")):
        assert np.isnan([rows[other][f"p_{label}"], rows[other][f"a12_{label}"]]).all()
        for name in set(final) - {other}:
            assert (rows[name][f"p_{label}"], rows[name][f"a12_{label}"]) == pairs[name, other]
    lines = text_table("b leads.", "Hypervolume.", list(rows.values())).splitlines()
    assert lines[0] == "b leads." and lines[2].split()[:2] == ["*", "b"]
    assert [line.split()[0] for line in lines[3:5]] == ["a", "random"]


def test_the_latex_table_has_every_row_and_escapes_names():
    draw = np.random.default_rng(0)
    final = {"a_b": draw.normal(3, 1, 20), "random": draw.normal(0, 1, 20)}
    text = latex_table(comparison_rows(final, compare_all(final)), "In % of {the box}.")
    rows = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert rows[0].startswith(r"\textbf{a\_b} & ") and rows[1].startswith("random & ")
    assert all(row.count("&") == 4 and row.endswith(r" \\") for row in rows)
    assert f"& {np.median(final['a_b']):.2f} &" in rows[0]
    assert r"\begin{tabular}{lrrrr}" in text


def test_the_answer_names_all_that_are_not_shown_to_differ():
    draw = np.random.default_rng(1)

    def samples(**means):
        return {name: draw.normal(mean, 1, 30) for name, mean in means.items()}

    assert "lead; no difference between them is shown." in told(samples(a=9, b=9, random=0))[1]
    assert (
        told(samples(a=9, b=5, random=0))[1]
        == "a leads: it is shown to be better than each of the others."
    )
    assert told(samples(a=9, random=0))[1] == "a leads: it is shown to be better than random."
    assert told(samples(a=0, b=-9, random=0))[1].endswith("Random search is among them.")
    same = {name: np.arange(3.0) for name in ("a", "b", "random")}
    assert told(same)[1] == (
        "No difference between the 3 algorithms is shown. 3 seeds are too few for that: take 5 "
        "or more."
    )


def area(fitness):
    """Of what points from 0 to 1 dominate below (1, 1)."""
    found = 0.0
    least = 1.0
    for x, y in fitness[np.argsort(fitness[:, 0])]:
        found = found + max(1 - x, 0) * max(least - y, 0)
        least = min(least, y)
    return found


def shares(arrays, name, low, high):
    return [
        100 * area((one - low) / (high - low)) for one in arrays[f"{name}_fitness"].astype(float)
    ]


def test_the_csv_counts_hypervolume_as_a_share_of_the_first_random_searchs_box(compared):
    run, text = compared
    arrays = run.read_npz("compare/compare.npz")
    rows = {row["algorithm"]: row for row in run.read_csv("compare/compare.csv")}
    sampled = arrays["random_fitness"][0].astype(float)
    for name in ("nsga2", "random"):
        median = np.median(shares(arrays, name, sampled.min(axis=0), sampled.max(axis=0)))
        assert float(rows[name]["median"]) == pytest.approx(median, rel=1e-5)
        assert f"{median:.2f}" in text
    assert float(rows["nsga2"]["a12_random"]) > 0.5


def test_another_algorithm_or_seed_moves_no_figure(table, compared, tmp_path):
    run, _ = compared
    other = RunDirectory(tmp_path)
    compare_searches(
        other,
        board(table, True),
        choose_algorithms(["nsga2", "local"], SETTINGS),
        SETTINGS,
        range(5, 17),
    )
    write_comparison(other)
    rows, again = (
        {row["algorithm"]: row for row in one.read_csv("compare/compare.csv")}
        for one in (run, other)
    )
    for name in ("nsga2", "random"):
        assert {key: rows[name][key] for key in ("median", "q1", "q3")} == {
            key: again[name][key] for key in ("median", "q1", "q3")
        }


def test_a_known_front_gives_regret_and_igd_plus(table, compared, tmp_path):
    run, _ = compared
    points = np.asarray(table)[np.asarray(front(table))]
    low = points.min(axis=0).astype(float)
    high = np.asarray(table).max(axis=0).astype(float)
    arrays = run.read_npz("compare/compare.npz")
    again = RunDirectory(tmp_path)
    again.write_npz(
        "compare/compare.npz", **arrays, front=points, reference=high, units=np.array(["%", "ms"])
    )
    text = write_comparison(again)
    whole = area((points - low) / (high - low))
    for row in again.read_csv("compare/compare.csv"):
        regrets = 100 - np.array(shares(arrays, row["algorithm"], low, high)) / whole
        assert float(row["regret"]) == pytest.approx(np.median(regrets), abs=2e-4)
        assert (
            float(row["regret"]) == pytest.approx(100 - float(row["median"]), abs=1e-9)
            and 0 < float(row["igd_plus"]) < 0.2
        )
    page = again.read_text("compare/compare.html")
    assert "regret" in text and "IGD+" in page and "error (%)" in page and "cost (ms)" in page


def constrained_arrays(random_feasible):
    """Two algorithms of two seeds with a constraint; of random search some or none is feasible."""
    good = np.array([[1, 3, -1], [3, 1, 0], [0, 0, 0.1], [5, 5, np.nan]], np.float32)
    bad = good.copy()
    bad[: 0 if random_feasible else 2, 2] = 1
    return {
        "algorithms": np.array(["nsga2", "random"]),
        "seed": np.arange(2),
        "objectives": np.array(["f1", "f2"]),
        "constraints": np.array(["dear"]),
        "nsga2_fitness": np.stack([good, good[[0, 2, 2, 2]]]),
        "random_fitness": np.stack([bad, bad]),
        "nsga2_generation": np.tile(np.arange(4, dtype=np.int32), (2, 1)),
        "random_generation": np.tile(np.arange(4, dtype=np.int32), (2, 1)),
    }


@pytest.mark.parametrize("random_feasible", [True, False])
def test_only_feasible_candidates_count(random_feasible, tmp_path):
    known = {"reference": np.full(2, 4.0), "front": np.array([[1.0, 3.0], [3.0, 1.0]])}
    run = RunDirectory(tmp_path)
    run.write_npz("compare/compare.npz", **constrained_arrays(random_feasible), **known)
    text = write_comparison(run)
    rows = {row["algorithm"]: row for row in run.read_csv("compare/compare.csv")}
    # The two feasible points cover 5 of the front's 5; the first alone 3.
    assert float(rows["nsga2"]["median"]) == pytest.approx((100 + 60) / 2)
    assert float(rows["random"]["median"]) == (100 if random_feasible else 0)
    said = "Candidates count where dear are at most 0: of 4 evaluations, medians, nsga2 1.5, random"
    assert f"{said} {2 if random_feasible else 0}." in text
    nothing = "Nothing feasible was found by random in 2 of 2 seeds."
    assert (nothing in text) == (nothing in (tmp_path / "compare/compare.html").read_text())
    assert (nothing in text) == (not random_feasible)


def test_without_a_front_random_search_must_find_something_feasible(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_npz("compare/compare.npz", **constrained_arrays(False))
    with pytest.raises(UserError, match="random search failed or is infeasible: mend the problem"):
        write_comparison(run)


def test_an_algorithm_under_constraints_is_told_them(table, tmp_path):
    def bounded(genomes, table):
        fitness = look_up(genomes, table)
        return jnp.concatenate([fitness, 20 - fitness[:, 1:]], axis=1)

    problem = replace(board(table, True), fitness=bounded, constraints=("cheap",))
    check_problem(problem)
    settings = replace(SETTINGS, constraints=("cheap=0",))
    run = RunDirectory(tmp_path)
    algorithms = choose_algorithms(["nsga2"], settings, problem.space)
    compare_searches(run, problem, algorithms, settings, range(2))
    arrays = run.read_npz("compare/compare.npz")
    assert arrays["nsga2_fitness"].shape == (2, 80, 3)
    feasible = {name: (arrays[f"{name}_fitness"][..., 2] <= 0).mean() for name in algorithms}
    assert feasible["random"] < 0.5 < feasible["nsga2"]
    assert arrays["nsga2_fitness"][:, 40:, 1].mean() > 20


def test_an_algorithm_that_cannot_search_the_space_is_refused_before_any_has(table, tmp_path):
    problem = replace(
        board(table, True), space=Box("square", (0, 0), (1, 1)), fitness=lambda x, _: x
    )
    algorithms = choose_algorithms(["nsga2"], SETTINGS, problem.space)
    nsga2: Any = algorithms["nsga2"]
    assert nsga2.variation == Real(SETTINGS.crossover, SETTINGS.mutation)
    with pytest.raises(UserError, match="local search needs a space of choices, got the box squa"):
        run_compare(
            Config("x", search=SETTINGS), str(tmp_path / "run"), ["local"], 2, lambda: problem
        )
    assert not (tmp_path / "run").exists()


def test_attainment_is_what_seeds_reach_point_by_point():
    fitness = np.random.default_rng(0).integers(0, 9, (7, 5, 2)).astype(np.float32)
    fitness[3] = np.nan
    fitness[2, 1] = np.nan
    places, reached = attained(fitness)
    assert (np.diff(places) > 0).all()
    for cost in range(9):
        least = sorted(
            min([error for error, other in rows if other <= cost], default=np.inf)
            for rows in fitness
        )
        step = np.searchsorted(places, cost, side="right") - 1
        assert (
            reached[:, step].tolist() == [least[0], least[3], least[6]]
            if step >= 0
            else np.isinf(least).all()
        )
    assert np.isinf(reached[2]).all() and len(places) < 9


def test_a_wall_does_not_flatten_the_panels():
    cost = np.linspace(1, 100, 40)
    seeds = np.stack([np.stack([5 + 5 / cost + shift, cost], axis=1) for shift in (0, 0.2, 0.4)])
    seeds[:, 0, 0] = 90
    drawn = attainments({"a": seeds, "random": seeds + 0.1}, ["error", "cost"])
    low, high = drawn["y"]["domain"]
    assert 4.9 < low < 5.1 and 6 < high < 8
    band, line = (one for one in drawn["marks"] if one["name"] == "a")
    np.testing.assert_allclose(line["y"][1:-1], seeds[1, 1:, 0], rtol=1e-4)
    np.testing.assert_allclose(band["low"][1:-1], seeds[0, 1:, 0], rtol=1e-4)
    np.testing.assert_allclose(band["high"][1:-1], seeds[2, 1:, 0], rtol=1e-4)


def test_the_page_and_the_pictures(compared):
    run, text = compared
    page = run.read_text("compare/compare.html")
    assert page.lstrip().startswith("<!doctype html>") and page.count("<svg ") == 1
    assert re.findall('data-chart="([^"]*)', page) == ["hypervolume", "attainment"]
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    for words in (
        "nsga2",
        "random",
        "Mann-Whitney",
        "Holm",
        "A12",
        "reference point",
        "12 seeds",
        "on the space board",
    ):
        assert words in page
    assert f"<h1>{run.root.name}: " in page
    assert text.splitlines()[0] in page and "Wilcoxon" not in page
    for name in ("hypervolume", "attainment", "critical"):
        assert run.read_bytes(f"compare/{name}.pdf").startswith(b"%PDF")
        assert b"<svg" in run.read_bytes(f"compare/{name}.svg")
        with Image.open(run.path(f"compare/{name}.png")) as image:
            assert image.format == "PNG" and image.width > 600
    before = {
        name: run.read_bytes(f"compare/{name}")
        for name in ("compare.html", "hypervolume.svg", "attainment.pdf", "compare.tex")
    }
    write_comparison(run)
    assert before == {name: run.read_bytes(f"compare/{name}") for name in before}


class Expecting(NSGA2):
    """Expects nothing of the first generation, and of later ones what others would not."""

    def figures(self, state):
        known = state.generation > 1
        expected = jnp.where(known, -state.fitness, jnp.nan)
        acquired = jnp.where(known, 1.0 / state.generation, jnp.nan)
        return {"predicted": expected, "acquisition": acquired, "reward": 1.0 * state.generation}


def test_what_algorithms_say_of_themselves_is_kept_and_drawn(table, tmp_path):
    run = RunDirectory(tmp_path)
    algorithms = {"nsga2": NSGA2(8), "own": Expecting(8), "random": RandomSearch(8)}
    problem = replace(board(table, True), initial=[[0] * 6, [3] * 6], same_start=True)
    compare_searches(run, problem, algorithms, SETTINGS, range(4))
    arrays = run.read_npz("compare/compare.npz")
    assert arrays["own_figure_reward"].tolist() == [list(range(1, 11))] * 4
    assert arrays["own_figure_predicted"].shape == (4, 10, 8, 2)
    assert not any(name.startswith("nsga2_figure") for name in arrays)
    for name in ("own", "random"):
        first = arrays[f"{name}_genomes"][:, :8]
        np.testing.assert_array_equal(first, arrays["nsga2_genomes"][:, :8])
        np.testing.assert_array_equal(first[:, :2], [[[0] * 6, [3] * 6]] * 4)
    assert len(np.unique(first[:, 2:].reshape(4, -1), axis=0)) == 4
    write_comparison(run)
    page = run.read_text("compare/compare.html")
    charts = re.findall('data-chart="([^"]*)', page)
    assert charts[2:] == ["curve-reward", "curve-acquisition", "prediction-0", "prediction-1"]
    assert "What the algorithms say of themselves" in page
    assert "begin with the same 2 given genomes" in page and "seeds of two algorithms have" in page
    assert "nothing in common" not in page
    assert run.exists("compare/curve-reward.png") and run.exists("compare/prediction-1.png")


def test_predictions_are_held_against_the_candidates_that_they_are_of():
    fitness = np.random.default_rng(0).uniform(size=(3, 8, 2)).astype(np.float32)
    predicted = np.stack([fitness[..., 0] ** 2, -fitness[..., 1]], axis=-1).reshape(3, 2, 4, 2)
    predicted[:, 0] = np.nan
    said = Said(np.array([4, 8]), {"predicted": predicted}, fitness)
    assert [said.correlation(0), said.correlation(1)] == [1.0, -1.0]
    assert [pair.shape for pair in said.pairs(0)] == [(2, 4)] * 3 and said.curves == {}
    assert Said(np.array([4, 8]), {"predicted": predicted * np.nan}, fitness).predicted is None


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_failures_and_any_number_of_objectives(objectives, tmp_path):
    run = RunDirectory(tmp_path)
    names = ["nsga2", "random"]
    fitness = np.random.default_rng(0).uniform(size=(2, 4, 16, objectives)).astype(np.float32)
    fitness[:, :, 3, 0] = np.nan
    arrays = {f"{name}_fitness": fitness[i] for i, name in enumerate(names)}
    arrays |= {
        f"{name}_generation": np.tile(np.repeat(np.arange(4, dtype=np.int32), 4), (4, 1))
        for name in names
    }
    names = np.array(names)
    labels = np.array(["a", "b", "c", "d", "e"][:objectives])
    run.write_npz(
        "compare/compare.npz", algorithms=names, seed=np.arange(4), objectives=labels, **arrays
    )
    text = write_comparison(run)
    assert "nan" not in text and ("standard error" in text) == (objectives > 3)
    page = run.read_text("compare/compare.html")
    assert "add nothing: 8." in page and page.count("data-chart=") == 1 + (objectives == 2)


@pytest.mark.parametrize("objectives", [1, 3, 5])
def test_every_algorithm_takes_the_problems_own_number_of_objectives(objectives):
    names = ["nsga2", "nsga3", "islands", "evolution", "elitist", "local", "evosax"] + ["moead"] * (
        objectives == 3
    )
    settings = replace(SETTINGS, population=28, objectives=tuple("abcde"[:objectives]))
    found = choose_algorithms(names, settings)
    columns = {name: getattr(one, "objectives", objectives) for name, one in found.items()}
    assert set(columns.values()) == {objectives} and len(columns) == len(names) + 1


def parts(table, **changes):
    return replace(board(table, True), **changes)


def test_a_problem_whose_parts_do_not_fit_is_refused_before_anything_is_searched(table, tmp_path):
    six = tuple("abcdef")
    wrong = [
        (parts(table, objectives=six), "1 to 5 objectives, got 6"),
        (
            parts(table, objectives=("a", "b", "c")),
            r"shape \(2, 3\), a column for each of a, b, c; got \(2, 2\)",
        ),
        (parts(table, units=("%",)), "units of the problem must be one per objective, 2"),
        (parts(table, reference=(1.0, np.nan)), "2 finite numbers"),
        (parts(table, front=np.zeros((3, 3))), r"rows of 2 objectives, got shape \(3, 3\)"),
        (
            parts(table, front=np.ones((3, 2)), reference=(1.0, 2.0)),
            "worse than a point of its front in every objective",
        ),
        (parts(table, initial=[[0, 0, 4]]), "initial of the problem must be rows of its choices"),
    ]
    for problem, message in wrong:
        with pytest.raises(UserError, match=message):
            run_compare(
                Config("x", search=SETTINGS),
                str(tmp_path / "run"),
                ["nsga2"],
                2,
                lambda problem=problem: problem,
            )
    assert not (tmp_path / "run").exists()
    check_problem(
        parts(table, front=np.asarray(table), reference=(200.0, 200.0), units=("%", "ms"))
    )


# The command


def refused(result, *parts):
    code, lines = result
    assert code == 2 and lines[-1].startswith("jaxnas: "), lines
    for part in parts:
        assert part in lines[-1]


def test_a_run_that_lacks_something_is_told_what(cli, micro, run_copy, tmp_path):
    refused(
        cli("compare", micro, "--out", tmp_path / "none"),
        "no data.json",
        "run `jaxnas data` before `jaxnas compare`",
    )
    (run_copy / "predictor.npz").unlink()
    refused(cli("compare", run_copy), "no predictor.npz", "run `jaxnas predict`")


@pytest.mark.parametrize(
    "options, parts",
    [
        ("--algorithms sgd", ["unknown algorithm 'sgd'", "nsga2"]),
        ("--algorithms random", ["one other than random"]),
        ("--seeds 1", ["--seeds must be at least 2, got 1"]),
        ("--seeds many", ["--seeds", "many"]),
        ("--reference 1,x", ["--reference", "finite numbers", "1,x"]),
        ("--reference 1", ["--reference must be 2 numbers, for error, latency_ms, got 1"]),
        ("--front none.csv", ["--front none.csv cannot be read"]),
        ("--data-dir pictures", ["data.data_dir 'pictures' is not read with data.source 'digits'"]),
        ("--algorithms nsga2:neighbours=3", ["unknown setting 'neighbours' of nsga2"]),
        (
            "--algorithms nsga2:mutation=1,local --search.mutation 0.9 --search.algorithm local",
            ["search.mutation 0.9 is not read"],
        ),
        (
            "--algorithms elitist,local --search.mutation 0.9 --search.algorithm local",
            ["search.mutation 0.9 is not read"],
        ),
        ("--train.epochs 2", ["train.epochs 1 -> 2"]),
        ("--seed 3", ["seed 0 -> 3"]),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(cli, run_copy, options, parts):
    refused(cli("compare", run_copy, *options.split()), *parts)
    assert not (run_copy / "compare").exists()


BOARD = """
import jax.numpy as jnp
from jaxnas.studies.compare import Problem
from jaxnas.config import Config, SearchConfig
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

config = Config("board", search=SearchConfig(population=4, generations=3))

def fitness(genomes, table):
    return jnp.stack([table[0][genomes].sum(axis=1), table[1][genomes].sum(axis=1)], axis=1)

def problem():
    space = Space("board", tuple(Gene(f"g{i}", (0, 1, 2)) for i in range(5)))
    table = jnp.asarray([[3.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    return Problem(space, ("error", "cost"), fitness, "board", table, traced=True)
"""


def test_an_experiment_that_brings_its_problem_needs_no_run(cli, tmp_path):
    (tmp_path / "here/board.py").write_text(BOARD)
    code, lines = cli(
        "compare", "board.py", "--algorithms", "local,nsga2", "--seeds", 3, "--out", "run"
    )
    assert code == 0 and lines[-1] == "compare: run/compare/compare.html", lines
    assert {row["algorithm"] for row in RunDirectory("run").read_csv("compare/compare.csv")} == {
        "nsga2",
        "local",
        "random",
    }
    before = RunDirectory("run").read_bytes("compare/compare.npz")
    assert (
        cli("compare", "board.py", "--algorithms", "local,nsga2", "--seeds", 3, "--out", "run")[0]
        == 0
    )
    assert RunDirectory("run").read_bytes("compare/compare.npz") == before
    limited = ("--search.limits", "error=0.001", "--search.patience", 1, "--out", "limited")
    limited += ("--search.formulation", "weighted_sum:weights=1,1")
    code, lines = cli("compare", "board.py", "--algorithms", "local,nsga2", "--seeds", 3, *limited)
    assert code == 0 and any("the searches have no limits here" in line for line in lines), lines
    assert any("no search stops early here" in line for line in lines)
    assert any("search.formulation does not count here" in line for line in lines)
    assert RunDirectory("limited").read_bytes("compare/compare.npz") == before
    (tmp_path / "here/front.csv").write_text("cost,error\n0,15\n15,0\n5,5\n")
    told = ("--algorithms", "local,nsga2", "--seeds", 3, "--out", "run", "--front", "front.csv")
    assert cli("compare", "board.py", *told, "--reference", "20,20")[0] == 0
    page = RunDirectory("run").read_text("compare/compare.html")
    assert "IGD+" in page and "reference point (error 20.0, cost 20.0)" in page
    refused(cli("compare", "board.py", *told, "--reference", "1,1"), "worse than a point of its")


@pytest.fixture
def asked(monkeypatch):
    """How many networks the supernet evaluates, call by call."""
    calls = []

    def fitness(space, objectives, evidence, mesh=None):
        evaluate = real(space, objectives, evidence, mesh)

        def counted(genomes):
            if objectives[0].name == "error":
                calls.append(int((genomes[:, space.static] >= 0).sum()))
            return evaluate(genomes)

        return counted

    real = stage.fitness
    monkeypatch.setattr(stage, "fitness", fitness)
    monkeypatch.setattr(shared, "fitness", fitness)  # of errors
    return calls


def test_it_is_the_search_of_the_run_and_evaluates_each_network_once(
    cli, run_copy, monkeypatch, tmp_path, asked, micro
):
    """With an empty store, then a full one, then none: the same archives, bit for bit."""
    # The compiled programs stay where they are.
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    run = RunDirectory(run_copy)

    def archives():
        for path in (run_copy / "compare").rglob("*.npz"):
            path.unlink()
        asked.clear()
        code, lines = cli("compare", run_copy, "--seeds", 2)
        assert code == 0 and lines[-1] == f"compare: {run_copy}/compare/compare.html", lines
        return run.read_bytes("compare/compare.npz")

    first = archives()
    arrays = run.read_npz("compare/compare.npz")
    main = run.read_npz("candidates.npz")
    for field in ("genomes", "fitness", "generation", "parents"):
        np.testing.assert_array_equal(arrays[f"nsga2_{field}"][0], main[field])
    with run:
        space = open_job(run, load_config(str(micro))).space
    genomes = np.concatenate([arrays["nsga2_genomes"], arrays["random_genomes"]]).reshape(
        -1, len(space.genes)
    )
    assert sum(asked) == len(np.unique(space.canonical(genomes), axis=0)) < len(genomes)
    assert archives() == first and asked == []
    unstored = lambda _, space, evaluate: lambda genomes: evaluate(genomes)[:, 0]  # noqa: E731
    monkeypatch.setattr(stage, "stored", unstored)
    assert archives() == first and sum(asked) == len(genomes)


def test_other_search_settings_are_compared_beside_the_run(cli, run_copy):
    before = (run_copy / "config.json").read_bytes(), (run_copy / "candidates.npz").read_bytes()
    assert cli("compare", run_copy, "--seeds", 2, "--search.generations", 2)[0] == 0
    assert RunDirectory(run_copy).read_npz("compare/compare.npz")["nsga2_genomes"].shape == (
        2,
        8,
        11,
    )
    assert before == (
        (run_copy / "config.json").read_bytes(),
        (run_copy / "candidates.npz").read_bytes(),
    )
