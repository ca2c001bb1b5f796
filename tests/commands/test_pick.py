"""`jaxnas pick`: other networks of a front."""

import json


def test_the_most_accurate_within_a_budget_are_trained_exported_and_measured(cli, run_copy):
    before = json.loads((run_copy / "chosen.json").read_text())
    most = 1.001 * max(one["predicted_ms"] for one in before)
    code, said = cli("pick", run_copy, "--under", f"{most}ms", "-n", 1)
    assert code == 0
    assert said[0].startswith("finetune.") and "finetune, export, verify and report" in said[0]
    (one,) = json.loads((run_copy / "chosen.json").read_text())
    assert one["name"] == "pick_1" and one["predicted_ms"] <= most
    assert (run_copy / "models/pick_1.onnx").exists()
    assert (run_copy / "earlier/1/models").is_dir()
    assert "pick_1" in (run_copy / "report.html").read_text()


def test_a_run_that_has_not_searched_is_not_begun(cli, micro, tmp_path):
    for run in (micro, tmp_path):
        code, errors = cli("pick", run, "--under", "3ms")
        assert code == 2 and "is no run that has searched" in errors[0]


def test_a_budget_that_nothing_keeps_is_refused_before_anything_moves(cli, run_copy):
    before = sorted(run_copy.rglob("*"))
    code, errors = cli("pick", run_copy, "--under", "1e-9ms")
    assert code == 2 and "no network of the front has latency_ms up to 1e-09" in errors[-1]
    code, errors = cli("pick", run_copy, "--under", "mmacs=3")
    assert code == 2 and "are of what the search minimises, error, latency_ms" in errors[-1]
    assert sorted(run_copy.rglob("*")) == before
