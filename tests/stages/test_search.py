"""A run's search ends early where its settings say so, and is complete then."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jaxnas.algorithms.loop import Archive
from jaxnas.config import SearchConfig
from jaxnas.records.candidates import CANDIDATES, RANDOM, Searched, read_searched
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages import search as stage
from jaxnas.stages.stopping import Stop

LATER = ("chosen.json", "exported.csv", "verified.csv", "report.html")


@pytest.fixture
def unsearched(run_copy):
    """A run whose search is still to come."""
    for name in ("config.json", "inputs.json", CANDIDATES, RANDOM, *LATER):
        (run_copy / name).unlink()
    return run_copy


@pytest.fixture
def searching(cli, micro, unsearched, monkeypatch):
    """Searches where the first generation is as good as any; in the one named by `fails` it is
    interrupted.
    """

    def search(*settings, fails=None):
        asked = []

        def evaluate(genomes):
            asked.append(genomes)
            if len(asked) == fails:
                raise KeyboardInterrupt
            return np.full((len(genomes), 2), 0.5, np.float32)

        monkeypatch.setattr(stage, "evaluator", lambda job, models: (evaluate, ""))
        code, lines = cli("search", micro, "--out", unsearched, *settings)
        return code, lines, len(asked)

    return search


def test_a_search_without_growth_stops_and_is_complete(searching, unsearched):
    run = RunDirectory(unsearched)
    settings = ("--search.patience", 2, "--search.seconds", 1000)
    assert searching(*settings, fails=3)[0] == 130
    before = read_searched(run, CANDIDATES)
    assert before.archive.stopped is None
    assert before.seconds is not None and 0 < before.seconds < 1000
    code, lines, asked = searching(*settings)
    said = "search: nsga2: stopped after generation 3 of 8: the hypervolume had not grown for 2"
    assert code == 0 and said in lines and asked == 4  # the third, and three at random
    found, sampled = (read_searched(run, file) for file in (CANDIDATES, RANDOM))
    assert found.network is not None
    assert found.seconds is not None and found.seconds > before.seconds
    assert found.archive.generation[-1] == sampled.archive.generation[-1] == 2
    assert found.archive.stopped == "the hypervolume had not grown for 2"
    assert sampled.archive.stopped is sampled.seconds is None and sampled.network is not None
    assert searching(*settings)[:2] == (0, ["search: done before"])
    code, lines, asked = searching("--search.patience", 3, "--search.seconds", 1000)
    assert code == 0 and lines[0].startswith("search.patience 2 -> 3: search, finetune")


def test_seconds_spent_before_count_and_the_last_generation_stops_nothing():
    none = np.full((4, 2), -1, np.int32)
    generation = np.repeat(np.arange(2, dtype=np.int32), 2)
    archive = Archive(none, np.zeros((4, 2), np.float32), generation, none)
    spent = Searched(archive, {"error": "", "mmacs": ""}, seconds=1000.0)
    settings = SearchConfig(population=2, generations=9, seconds=1000)
    assert Stop(settings)(archive) is None
    assert Stop(settings, spent)(archive) == "its 1000 seconds were over"
    assert Stop(replace(settings, generations=2), spent)(archive) is None
    assert Stop(SearchConfig(), spent).spent is None


def test_under_a_formulation_its_best_value_must_improve():
    """The second generation has fewer MACs and is no more accurate; the third is."""
    none = np.full((6, 2), -1, np.int32)
    fitness = np.array([[0.5, 5], [0.9, 9], [0.6, 1], [0.6, 1], [0.4, 9], [0.6, 1]], np.float32)
    generation = np.repeat(np.arange(3, dtype=np.int32), 2)
    archive = Archive(none, fitness, generation, none)
    second = Archive(none[:4], fitness[:4], generation[:4], none[:4])
    settings = SearchConfig(population=2, patience=1, objectives=("error", "mmacs"))
    assert Stop(settings)(second) is None
    formulated = replace(settings, formulation="weighted_sum:weights=1,0")
    reason = "the best by weighted_sum:weights=1,0 had not improved for 1"
    assert Stop(formulated)(second) == reason and Stop(formulated)(archive) is None


def test_given_genomes_come_first_and_with_others_the_search_is_done_again(
    searching, unsearched, tmp_path
):
    genes = len(RunDirectory(unsearched).read_npz("selection.npz")["genomes"][0])
    given = [[0] * genes, [0] * (genes - 1) + [1]]
    file = tmp_path / "genomes.json"
    file.write_text(json.dumps(given))
    code, lines, _ = searching("--search.initial", "1 2 3")
    assert (code, len(lines)) == (2, 1) and f"a genome of micro has {genes}" in lines[0]
    assert not (unsearched / "config.json").exists()
    assert searching("--search.initial", file, "--search.generations", 2)[0] == 0
    archive = read_searched(RunDirectory(unsearched), CANDIDATES).archive
    np.testing.assert_array_equal(archive.genomes[:2], given)
    file.unlink()  # the run knows them
    typed = ",".join(" ".join(map(str, genome)) for genome in given)
    for same in (file, typed):
        done = searching("--search.initial", same, "--search.generations", 2)
        assert done[:2] == (0, ["search: done before"])
    other = " ".join(["0"] * genes)
    code, lines, _ = searching("--search.initial", other, "--search.generations", 2)
    assert code == 0 and lines[0].startswith("search.initial ")
    archive = read_searched(RunDirectory(unsearched), CANDIDATES).archive
    assert archive.genomes[0].tolist() == [0] * genes
