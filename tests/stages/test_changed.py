"""Other settings for a run that is there."""

import json
from dataclasses import replace

import pytest

from jaxnas.records.data import read_data
from jaxnas.records.files import STAGES
from jaxnas.records.measurements import read_measurements
from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.changed import outdated
from jaxnas.stages.job import space_of
from jaxnas.stages.settings import read_config

KEPT = ("config.json", "data.json", "measurements.csv", "predictor.npz", "supernet.safetensors")
REDONE = ("candidates.npz", "random.npz", "chosen.json", "models", "verified.csv", "report.html")


def generations(run) -> int:
    return json.loads((run / "config.json").read_text())["search"]["generations"]


def test_a_longer_search_keeps_the_training_and_puts_the_rest_aside(cli, run_copy):
    before = {name: (run_copy / name).read_bytes() for name in ("candidates.npz", "report.html")}
    old = generations(run_copy)
    measured = (run_copy / "measurements.csv").stat().st_mtime_ns
    code, said = cli("search", run_copy, "--search.generations", old + 1)
    assert code == 0
    earlier = run_copy / "earlier/1"
    assert said[0] == (
        f"search.generations {old} -> {old + 1}: search, finetune, export, verify and report are "
        f"done again, data, train, profile and predict kept; what was there is the run {earlier}"
    )
    assert generations(run_copy) == old + 1 and generations(earlier) == old
    assert (run_copy / "measurements.csv").stat().st_mtime_ns == measured
    for name, data in before.items():
        assert (earlier / name).read_bytes() == data
    assert all((run_copy / name).exists() for name in KEPT)
    assert not any((run_copy / name).exists() for name in REDONE[2:])
    assert [folder.name for folder in (run_copy / "checkpoints").iterdir()] == ["supernet"]
    stages = {line["stage"] for line in read_metrics(RunDirectory(run_copy))}
    assert stages == {"data", "train", "profile", "predict", "search"}

    assert cli("report", earlier) == (0, [f"report: {earlier}/report.html"])  # it is a whole run
    assert cli("show", earlier)[0] == 0
    assert "verify, report done" in cli.printed


def test_what_decides_the_supernet_or_an_earlier_stage_is_refused(cli, run_copy):
    before = sorted(run_copy.rglob("*"))
    for arguments in (
        ("run", run_copy, "--train.epochs", 3),
        ("run", run_copy, "--train.epochs", 3, "--search.generations", 9),
        ("report", run_copy, "--search.generations", 9),
        ("finetune", run_copy, "--search.generations", 9),
        ("predict", run_copy, "--search.generations", 9),
    ):
        code, errors = cli(*arguments)
        assert code == 2 and "was made with other settings" in errors[0]
    assert sorted(run_copy.rglob("*")) == before


def test_another_device_has_profile_and_what_follows_done_again(cli, run_copy):
    run = RunDirectory(run_copy)
    config = read_config(run_copy)
    data = read_data(run)
    other = replace(config, profile=replace(config.profile, device="raptor_small"))
    space = space_of(config, data.height, data.channels, len(data.class_names))
    found = outdated(run, other, space, list(STAGES))
    assert found is not None and found.stages[0] == "profile"
    assert found.stages == tuple(STAGES)[2:]
    assert outdated(run, config, space, list(STAGES)) is None

    kept = [run_copy / "data.json", run_copy / "supernet.safetensors"]
    kept += [path for path in (run_copy / "checkpoints/supernet").rglob("*") if path.is_file()]
    before = [path.stat().st_mtime_ns for path in kept]
    code, said = cli("profile", run_copy, "--device", "raptor_small")
    assert code == 0
    assert said[0] == (
        f'profile.device "{config.profile.device}" -> "raptor_small": profile, predict, search, '
        "finetune, export, verify and report are done again, data and train kept; what was there "
        f"is the run {run_copy}/earlier/1"
    )
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert {row.measurement.device for row in read_measurements(run)} == {"raptor_small"}
    left = ("predictor.npz", "candidates.npz", "chosen.json", "verified.csv", "report.html")
    assert not any((run_copy / name).exists() for name in left)


def test_a_device_that_cannot_measure_is_found_before_anything_moves(cli, run_copy):
    before = sorted(run_copy.rglob("*"))
    code, errors = cli("run", run_copy, "--device", "ssh:no.such.host")
    assert code == 2 and "cannot measure" in errors[0]
    assert sorted(run_copy.rglob("*")) == before


@pytest.mark.parametrize("killed", ("write_json", "_move"))
def test_whenever_it_is_killed_the_same_command_goes_on(cli, run_copy, monkeypatch, killed):
    old = generations(run_copy)
    command = ("search", run_copy, "--search.generations", old + 1)

    def kill(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        where = RunDirectory if killed == "write_json" else "jaxnas.stages.changed"
        if killed == "write_json":
            patch.setattr(where, killed, kill)
        else:
            patch.setattr(f"{where}.{killed}", kill)
        assert cli(*command)[0] == 130
    assert generations(run_copy) == old
    assert cli(*command)[0] == 0
    assert generations(run_copy) == old + 1
    assert not (run_copy / "chosen.json").exists()
    found = {path.name for path in (run_copy / "earlier").rglob("*")}
    assert set(REDONE) <= found


def test_a_search_that_is_refused_leaves_the_run_as_it_was(cli, run_copy):
    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    code, said = cli("run", run_copy, "--search.constraints", "mmacs=0.00001")
    assert code == 2 and "is below every network" in said[-1] and "raise it" in said[-1]
    assert "the run is as it was" in said
    after = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    assert after == before
    assert not any((run_copy / "earlier").iterdir())
