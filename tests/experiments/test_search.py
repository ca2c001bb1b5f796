"""The search bench: the same problems on every side, runs that search, and the bench as a whole."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymoo.problems import get_problem

PEERS = ("torch", "evox", "deap")
ORACLES = {"ZDT1": "zdt1", "ZDT2": "zdt2", "ZDT3": "zdt3", "DTLZ2": "dtlz2"}


@pytest.fixture(scope="module")
def problems(bench_module):
    return bench_module("search_problems")


@pytest.fixture(scope="module")
def bench(bench_module):
    return bench_module("search")


@pytest.fixture(scope="module")
def peers(bench_module):
    """The peers; tests that need them are skipped where one is not installed."""
    for name in PEERS:
        pytest.importorskip(name)
    return bench_module("search_peers")


@pytest.fixture(params=[*ORACLES, "INT31"])
def problem(request, problems):
    return getattr(problems, request.param)


def genomes(problem, n=50):
    return np.asarray(problem.space.sample(jax.random.key(0), n))


@pytest.mark.parametrize("name", ORACLES)
def test_problems_are_those_of_pymoo_and_genes_in_another_order_are_noticed(problems, name):
    problem = getattr(problems, name)
    size = {"n_var": len(problem.low), "n_obj": problem.objectives} if name == "DTLZ2" else {}
    x = genomes(problem).astype(np.float64)
    expected = np.asarray(get_problem(ORACLES[name], **size).evaluate(x))
    np.testing.assert_allclose(problem.function(x, np), expected, rtol=1e-12, atol=1e-12)
    assert np.abs(problem.function(x[:, ::-1], np) - expected).max() > 0.1


def test_every_side_has_the_same_problem(problem):
    x = genomes(problem)
    expected = problem.function(x.astype(np.float64), np)
    np.testing.assert_allclose(jax.jit(problem.fitness)(x, None), expected, rtol=1e-5, atol=1e-5)
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(
        problem.function(torch.tensor(x), torch).numpy(), expected, rtol=1e-5, atol=1e-5
    )


def test_the_integer_problem_is_a_conflict_with_ties(problems):
    fitness = problems.INT31.function(genomes(problems.INT31, 2000), np)
    assert len(problems.INT31.low) == 31 and np.corrcoef(fitness.T)[0, 1] < -0.5
    extremes = problems.INT31.function(np.array([problems.INT31.low, problems.INT31.high]), np)
    assert extremes[0, 0] < fitness[:, 0].min() and extremes[1, 1] < fitness[:, 1].min()


@pytest.mark.parametrize("unique", [True, False])
def test_last_population_of_jaxnas_holds_the_front_of_all_it_evaluated(
    bench_module, problems, unique
):
    ours = bench_module("search_jaxnas")
    size = (problems.ZDT1, 40, 8)
    keys = lambda: jax.vmap(jax.random.key)(jnp.arange(2))  # noqa: E731
    archive = ours.make_archive(*size, unique)(keys())
    members = ours.last_populations(*size, keys(), unique)
    assert members.shape == (2, 40, 2)
    for evaluated, last in zip(np.asarray(archive.fitness), members, strict=True):
        rows = {tuple(row) for row in evaluated}
        assert {tuple(row) for row in last} <= rows
        front = {
            row
            for row in rows
            if not any(other[0] <= row[0] and other[1] <= row[1] and other != row for other in rows)
        }
        assert len(front) < 40 and front <= {tuple(row) for row in last}
        # The last children would not do.
        assert not front <= {tuple(row) for row in evaluated[-40:]}


@pytest.mark.parametrize("name", ["pymoo", "pymoo kept", "evox", "deap"])
def test_peers_search(peers, problem, name):
    make = {
        "pymoo": lambda generations: peers.pymoo(problem, 20, generations, unique=True),
        "pymoo kept": lambda generations: peers.pymoo(problem, 20, generations, unique=False),
        "evox": lambda generations: peers.evox(problem, 20, generations, compiled=False),
        "deap": lambda generations: peers.deap(problem, 20, generations),
    }[name]
    first = make(1)(3)
    last = make(25)(3)
    assert first.shape == last.shape == (20, problem.objectives) and np.isfinite(last).all()
    np.testing.assert_array_equal(make(25)(3), last)
    worst = first.max(axis=0)
    assert peers.hypervolume(last, ref=worst) > 1.05 * peers.hypervolume(first, ref=worst)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch.compile warns of itself
def test_the_whole_bench(bench, peers, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert bench.main(["--quick", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    names = {bar.figure for bar in bench.BARS}
    for quick, full in zip(bench.QUICK.paces, bench.FULL.paces, strict=False):
        names = {
            name.replace(f"population {full.population},", f"population {quick.population},")
            for name in names
        }
    assert {name for name in names if "10000" not in name} <= set(figures)
    assert figures[bench.SAME]["median"] == 1
    assert len(figures["zdt1: hypervolume, pymoo"]["rounds"]) == bench.QUICK.seeds
    assert 0 <= figures["dtlz2: Mann-Whitney p, DEAP and pymoo"]["median"] <= 1
    assert "ms per generation" in capsys.readouterr().out


def refused(code, capsys, *parts):
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and lines[-1].startswith("jaxnas: "), lines
    assert all(part in lines[-1] for part in parts), lines


def test_a_folder_that_is_not_there_is_one_line(bench, capsys):
    refused(bench.main(["--json", "nowhere/figures.json"]), capsys, "nowhere", "directory")


class NoDeap:
    """Importing deap fails as where it is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "deap":
            raise ModuleNotFoundError("No module named 'deap'", name="deap")


def test_without_a_peer_says_what_to_install(bench, peers, capsys, monkeypatch):
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("deap", "search_peers")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoDeap, *sys.meta_path])
    refused(bench.main(["--quick"]), capsys, "deap", ".[bench]")
