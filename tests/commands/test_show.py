"""`jaxnas show`."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from jaxnas.algorithms.loop import Archive
from jaxnas.records.candidates import Searched


@pytest.fixture
def shown(cli):
    """What `jaxnas show RUN` prints."""

    def show(*arguments):
        code, errors = cli("show", *arguments)
        assert code == 0, errors
        return cli.printed

    return show


def latencies(said: str) -> list[float]:
    """The second column of the table of the front."""
    return [float(one) for one in re.findall(r"^[0-9.]+ %  +([0-9.]+) ", said, flags=re.M)]


def test_a_finished_run_has_a_recommendation_its_networks_and_its_front(shown, finished_run):
    said = shown(finished_run)
    chosen = json.loads((finished_run / "chosen.json").read_text())
    assert "verify, report done" in said
    for one in chosen:
        assert f"models/{one['name']}.onnx" in said
    found = latencies(said)
    assert found and found == sorted(found)


def test_a_budget_leaves_the_networks_within_the_most_accurate_first(shown, finished_run):
    found = latencies(shown(finished_run))
    least, *others = sorted(set(found))  # rounded: a budget lies between two of them
    most = (least + (others or [2 * least])[0]) / 2
    within = latencies(shown(finished_run, "--under", f"{most}ms"))
    assert within == [ms for ms in reversed(found) if ms <= most]
    assert "the least is" in shown(finished_run, "--under", "1e-6ms")


def test_of_a_long_front_some_are_shown(shown, finished_run):
    whole = latencies(shown(finished_run))
    said = shown(finished_run, "-n", "1")
    assert latencies(said) == whole[:1]
    assert len(whole) == 1 or f"... {len(whole) - 1} more: -n {len(whole)}" in said


def test_a_run_that_is_not_searched_says_how_to_go_on(shown, run_copy):
    (run_copy / "candidates.npz").unlink()
    (run_copy / "random.npz").unlink()
    assert f"Nothing is searched yet; jaxnas search {run_copy} goes on." in shown(run_copy)


@pytest.mark.parametrize(
    ("under", "error"),
    (
        ("0ms", "--under must be as 3ms or mmacs=20, above 0, got '0ms'"),
        ("1.2.3", "--under must be as 3ms or mmacs=20, above 0, got '1.2.3'"),
        ("mmacs=20", "--under mmacs=20: the run minimised latency_ms; name one as NAME=NUMBER"),
    ),
)
def test_a_budget_that_is_none_is_refused(cli, finished_run, under, error):
    assert cli("show", finished_run, "--under", under) == (2, [f"jaxnas: {error}"])


def test_a_folder_that_is_no_run_is_refused(cli, tmp_path):
    code, errors = cli("show", tmp_path)
    assert code == 2 and len(errors) == 1 and "is no run directory" in errors[0]


def test_a_network_that_several_genomes_give_is_there_once():
    fitness = np.array([[0.1, 2.0], [0.1, 2.0], [0.2, 1.0], [0.3, 3.0]], np.float32)
    generation, parents = np.zeros(4, np.int32), np.full((4, 2), -1, np.int32)
    archive = Archive(np.zeros((4, 1), np.int32), fitness, generation, parents)
    searched = Searched(archive, {"error": "Error", "mmacs": "MMACs"})
    assert replace(searched, network=np.array([0, 0, 1, 2])).front.tolist() == [0, 2]
    assert searched.front.tolist() == [0, 1, 2]
