"""Finished runs beside each other."""

import json
import re

import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory
from jaxnas.studies.runs import compare_runs


@pytest.fixture
def other(run_copy):
    """The same run with a front that is half as wrong, by another method of training."""
    config = json.loads((run_copy / "config.json").read_text())
    config["train"]["method"] = "spos"
    (run_copy / "config.json").write_text(json.dumps(config))
    with RunDirectory(run_copy) as run:
        found = run.read_npz("selection.npz")
        run.write_npz("selection.npz", **{**found, "selection_error": found["selection_error"] / 2})
    return run_copy


def rows(table):
    return [line.split() for line in table.splitlines()[1:3]]


def test_the_better_front_comes_first_with_what_it_took(finished_run, other):
    table = compare_runs([str(finished_run), str(other)])
    (better, _, _, _, most, networks, seconds), worse = rows(table)
    assert better == str(other) and worse[0] == str(finished_run)
    assert (worse[1], worse[2]) == ("sandwich", "nsga2") and float(most) > float(worse[4])
    run = RunDirectory(finished_run)
    searched = run.read_npz("candidates.npz")
    assert int(networks) == len(np.unique(searched["genomes"], axis=0))
    took = [line for line in run.read_jsonl("metrics.jsonl") if line.get("event") == "done"]
    stages = ("train", "profile", "predict", "search")
    total = sum(line["seconds"] for line in took if line["stage"] in stages)
    assert abs(int(seconds) - total) <= 0.5 and "Not tested" in table


def test_hypervolume_is_that_of_the_held_out_front(finished_run):
    """Of two objectives it is a staircase."""
    run = RunDirectory(finished_run)
    found = run.read_npz("selection.npz")
    searched = run.read_npz("candidates.npz")
    latency_ms = {
        genome.tobytes(): fitness[1]
        for genome, fitness in zip(searched["genomes"], searched["fitness"], strict=True)
    }
    points = np.array(
        [
            (error, latency_ms[genome.tobytes()])
            for genome, error in zip(found["genomes"], found["selection_error"], strict=True)
        ]
    )
    worst = np.nanmax(run.read_npz("random.npz")["fitness"], axis=0)
    points = points[np.asarray(pareto.front(points.astype(np.float32)))] / worst
    points = np.clip(points[np.argsort(points[:, 0])], None, 1)
    right = np.append(points[1:, 0], 1)
    volume = np.sum((right - points[:, 0]) * (1 - points[:, 1]))
    found_volume = float(rows(compare_runs([str(finished_run)]))[0][4])
    assert found_volume == pytest.approx(volume, abs=6e-5)


def test_runs_of_other_figures_are_refused(finished_run, other):
    config = json.loads((other / "config.json").read_text())
    config["profile"]["device"] = "raptor"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=re.escape("has the device onnxruntime, and ")):
        compare_runs([str(finished_run), str(other)])


def test_a_run_without_networks_and_settings_are_refused(cli, finished_run, run_copy):
    (run_copy / "exported.csv").unlink()
    (run_copy / "chosen.json").unlink()
    code, lines = cli("compare", finished_run, "--with", run_copy)
    assert code == 2 and "has no chosen.json yet: run `jaxnas finetune` before" in lines[-1]
    code, lines = cli("compare", finished_run, "--with", finished_run, "--seed", 3)
    assert code == 2 and "reads finished runs, got the setting --seed" in lines[-1]


def test_a_run_counts_once(finished_run, run_copy, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(finished_run)
    assert rows(compare_runs([str(finished_run), str(link)]))[0][3] == "1"
    with pytest.raises(UserError, match="have the same settings and the seed "):
        compare_runs([str(finished_run), str(run_copy)])


def test_what_is_no_run_and_options_that_nothing_reads_are_refused(cli, finished_run):
    for path in ("", "nope", __file__):
        code, lines = cli("compare", finished_run, "--with", path)
        assert code == 2 and f"{path!r} is no run directory" in lines[-1]
    for option in ("--seeds", "--algorithms", "--out"):
        code, lines = cli("compare", finished_run, "--with", finished_run, option, 3)
        assert code == 2 and f"got the setting {option}: leave it out" in lines[-1]
