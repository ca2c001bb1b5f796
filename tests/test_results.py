"""A run as objects, read from the finished run."""

import csv

import numpy as np
import pytest

import jaxnas
from jaxnas.experiment import load_config


@pytest.fixture(scope="module")
def run(finished_run):
    return jaxnas.load(finished_run)


def test_the_front_is_no_worse_than_any_candidate(run):
    candidates, front = run.candidates, run.front
    assert len(candidates) == len(run.genomes) == 32
    assert list(candidates.columns) == ["genome", "network", "generation", "error", "latency_ms"]
    assert (np.diff(front["latency_ms"]) > 0).all() and (np.diff(front["error"]) < 0).all()
    better = (candidates["error"][:, None] < front["error"]) & (
        candidates["latency_ms"][:, None] < front["latency_ms"]
    )
    assert not better.any()
    assert set(front["genome"]) <= set(candidates["genome"])


def test_the_chosen_networks_are_those_of_the_record(run, finished_run):
    with open(finished_run / "verified.csv") as file:
        rows = list(csv.DictReader(file))
    assert run.chosen["name"].tolist() == [row["name"] for row in rows]
    np.testing.assert_allclose(
        run.chosen["test_accuracy"], [float(row["test_accuracy"]) for row in rows]
    )


def test_figures_of_all_stages_are_at_hand(run, micro, finished_run):
    assert run.config == load_config(str(micro))
    assert len(run.measurements) == 12 and (run.measurements["latency_ms"] > 0).all()
    assert {line["stage"] for line in run.metrics} >= {"train", "search", "finetune"}
    assert run.report.is_file() and run.path == finished_run
    assert any(name in run.recommendation for name in ("A", "network"))


def test_a_run_that_has_just_begun_says_what_is_missing(cli, micro, tmp_path):
    cli("data", micro, "--out", tmp_path / "run")
    run = jaxnas.load(tmp_path / "run")
    assert run.config.name == "micro"
    stages = {"candidates": "search", "chosen": "finetune", "measurements": "profile"}
    for name, stage in stages.items():
        with pytest.raises(jaxnas.UserError, match=f"jaxnas {stage} "):
            getattr(run, name)


def test_chosen_networks_are_known_before_they_are_verified(run_copy):
    (run_copy / "verified.csv").unlink()
    chosen = jaxnas.load(run_copy).chosen
    assert len(chosen) and {"finetuned_search_accuracy", "predicted_ms"} <= set(chosen.columns)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(jaxnas.UserError, match="no run directory"):
        jaxnas.load(tmp_path)


def test_a_finished_run_is_taken_up(run_copy, cli, micro):
    """All stages are done before, the report is drawn anew."""
    (run_copy / "report.html").unlink()
    run = jaxnas.run(load_config(str(micro)), run_copy)
    assert run.report.is_file()


def test_a_table_goes_to_csv_and_to_notebooks(run, tmp_path):
    run.front.to_csv(tmp_path / "front.csv")
    with open(tmp_path / "front.csv") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["error"]) for row in rows], run.front["error"], rtol=1e-6)
    assert repr(run.candidates).endswith("... 22 more rows")
    assert run.candidates._repr_html_().count("<tr>") == 11
    with pytest.raises(ValueError, match="one length"):
        jaxnas.Table({"a": [1], "b": [1, 2]})
