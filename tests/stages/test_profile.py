"""Active profiling of a device, as the command has it."""

import json
import shutil

import numpy as np
import pytest

from jaxnas.config import DEVICES, load_chip
from jaxnas.experiment import load_config
from jaxnas.hardware import watched
from jaxnas.hardware.device import Measurement
from jaxnas.profiling import active_profile
from jaxnas.profiling.active_profile import ActiveProfile, Step
from jaxnas.records.measurements import by_network, read_measurements
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.stages.plan import growing_plan
from jaxnas.stages.settings import recorded_settings

SITTING = (
    "--profile.train",
    20,
    "--profile.validation",
    12,
    "--profile.test",
    12,
    "--profile.rounds",
    2,
    "--predict.steps",
    300,
)


@pytest.fixture(scope="module")
def sat(changed_run):
    """A run until its predictor is done, the bound out of reach; made once, to be read."""
    run, errors = changed_run(["profile", "predict"], *SITTING, "--profile.until", 0.0001)
    (run.parent / "stderr.txt").write_text(errors)
    return run


def rows_of(run):
    return RunDirectory(run).read_csv("measurements.csv")


def test_batches_follow_one_another_and_every_network_has_its_rounds(sat):
    rows = rows_of(sat)
    assert len(rows) == 2 * 44 and len({row["genome"] for row in rows}) == 44
    turns = [row["round"] for row in rows]
    assert turns == [*["0"] * 22, *["1"] * 22, *["0"] * 20, *["1"] * 20, "0", "0", "1", "1"]
    splits = [row["split"] for row in rows if row["round"] == "0"]
    assert splits[:22] == ["train"] * 22
    assert splits[22:42:2] == [*["validation", "test", "validation"] * 3, "validation"]
    assert splits[23:42:2] == ["train"] * 10
    assert (splits.count("validation"), splits.count("test")) == (7, 4)


def test_what_the_test_networks_take_decides_nothing(sat, micro, monkeypatch):
    """The profile depends on its arguments alone, and gets no latency of a test network."""
    given = []

    def step(profile, key, genomes, latency_ms, fresh):
        given.append((latency_ms, fresh))
        return Step(genomes[:0], fresh[:0], np.nan, "over")

    monkeypatch.setattr(ActiveProfile, "step", step)
    load_config(str(micro))  # which makes its space known
    with RunDirectory(sat) as run:
        networks = by_network(read_measurements(run))
        growing_plan(open_job(run, recorded_settings(run)), networks)
    splits = np.array([one.split for one in networks])
    [(latency_ms, fresh)] = given
    np.testing.assert_array_equal(np.isnan(latency_ms), splits == "test")
    np.testing.assert_array_equal(fresh, splits != "train")


def test_it_says_how_many_measurements_it_took_and_why(sat):
    (line,) = [
        line
        for line in RunDirectory(sat).read_jsonl("metrics.jsonl")
        if line.get("event") == "over"
    ]
    assert (line["networks"], line["measurements"], line["reason"]) == (
        44,
        88,
        "44 subnets are measured, which is the most",
    )
    said = (sat.parent / "stderr.txt").read_text().splitlines()
    assert (
        "profile: 44 networks, 88 measurements: 44 subnets are measured, which is the most" in said
    )


def test_the_predictor_learns_from_it_and_gives_intervals(sat):
    rows = RunDirectory(sat).read_csv("predictions.csv")
    quality = RunDirectory(sat).read_json("predictor.json")
    assert len(rows) == 44
    low, mean, high, measured = (
        np.array([float(row[c]) for row in rows])
        for c in ("low_ms", "predicted_ms", "high_ms", "measured_ms")
    )
    assert (low < mean).all() and (mean < high).all()
    inside = (low <= measured) & (measured <= high)
    for split, figures in quality.items():
        assert figures["within_interval"] == pytest.approx(
            inside[[row["split"] == split for row in rows]].mean()
        )


@pytest.mark.parametrize(
    "kept", [pytest.param(10, marks=pytest.mark.slow), 30, pytest.param(60, marks=pytest.mark.slow)]
)
def test_a_profile_cut_off_anywhere_measures_what_is_left_of_the_plan(cli, sat, tmp_path, kept):
    """The rows that it has decide what follows.

    Its own figures differ, so that later batches need not be the same networks.
    """
    run = shutil.copytree(sat, tmp_path / "run")
    before = rows_of(sat)
    for file in ("predictor.npz", "predictions.csv", "predictor.json"):
        (run / file).unlink()
    lines = (run / "measurements.csv").read_bytes().splitlines(keepends=True)
    (run / "measurements.csv").write_bytes(b"".join(lines[: kept + 1]))
    code, errors = cli("predict", run)
    assert code == 2 and "is not complete: run `jaxnas profile` first" in errors[-1]
    assert cli("profile", run)[0] == 0
    after = rows_of(run)
    assert (run / "measurements.csv").read_bytes().startswith(b"".join(lines[: kept + 1]))
    whole = 44 if kept < 44 else 84  # rows of the batches that were decided when it was cut off
    assert [(row["round"], row["genome"]) for row in after[:whole]] == [
        (row["round"], row["genome"]) for row in before[:whole]
    ]
    assert len(after) == 88 and len({(row["round"], row["genome"]) for row in after}) == 88
    assert cli("profile", run) == (0, ["profile: done before"])


@pytest.mark.slow
def test_a_bound_within_reach_ends_it_early(cli, sat, tmp_path, monkeypatch):
    # No front is settled, which would end it before twenty networks are for validation.
    monkeypatch.setattr(active_profile, "LOSS", -1.0)
    run = shutil.copytree(sat, tmp_path / "run")
    for file in ("measurements.csv", "config.json"):
        (run / file).unlink()
    config = RunDirectory(sat).read_json("config.json")
    config["profile"] |= {"until": 0.9, "train": 100}
    with RunDirectory(run) as directory:
        directory.write_json("config.json", config)
    code, errors = cli("profile", run)
    assert code == 0 and any(
        "the error on fresh subnets is " in line and "at most 90.0%" in line for line in errors
    )
    # Three batches: the first with twenty for validation.
    assert len({row["genome"] for row in rows_of(run)}) == 100


@pytest.mark.parametrize("until", ["3", "0%", "100%", "-1%", "x%"])
def test_a_bound_that_is_no_percentage(cli, micro, until):
    code, errors = cli("profile", micro, f"--until={until}")
    assert (
        code == 2
        and f"--until must be a percentage above 0 and below 100, got '{until}'" in errors[-1]
    )


def test_short_options_are_settings(cli, micro, tmp_path):
    out = tmp_path / "run"
    code, errors = cli("profile", micro, "--out", out, "--device", "abacus", "--until", "3%")
    assert code == 2 and "unknown device 'abacus'" in errors[-1]
    assert cli("run", micro, "--out", out, "--until", "2.5 %", "--device", "abacus")[0] == 2


class Wavering:
    """A device whose first two rounds of every second network differ by a half.

    A third agrees with the faster.
    """

    name = "wavering"

    def __init__(self):
        self.asked: dict[str, int] = {}

    def measure(self, model):
        genome = " ".join(map(str, model.genome))
        place = list(self.asked).index(genome) if genome in self.asked else len(self.asked)
        self.asked[genome] = self.asked.get(genome, 0) + 1
        assert model.turn == self.asked[genome] - 1
        slow = place % 2 == 1 and model.turn == 0
        return Measurement(
            "wavering", 1.5 if slow else 1.0 + 0.02 * model.turn, 1.0, 1.0, 20, 1, "none"
        )


def as_if_started_with(run, **settings):
    """The run with other settings of the profile, and nothing measured yet."""
    for file in ("measurements.csv", "inputs.json"):
        (run / file).unlink()
    edited = json.loads((run / "config.json").read_text())
    edited["profile"] |= settings
    (run / "config.json").write_text(json.dumps(edited))


def test_a_chip_described_in_a_file_is_a_device_like_any_other(cli, run_copy, tmp_path, chip):
    (tmp_path / "chip.toml").write_text(chip)
    as_if_started_with(run_copy, device=str(tmp_path / "chip.toml"))
    assert cli("profile", run_copy)[0] == 0
    model = load_chip(str(tmp_path / "chip.toml"))
    job = open_job(RunDirectory(run_copy), load_config(str(run_copy)))
    for row in rows_of(run_copy):
        layers = job.space.layers(np.array(row["genome"].split(), np.int32))
        assert float(row["latency_ms"]) == pytest.approx(float(model(layers).latency_ms), rel=1e-5)
        assert (row["device"], row["runtime"]) == ("chip", "a guess")


def test_a_table_from_before_the_median_grows_on(cli, run_copy):
    before = rows_of(run_copy)
    old = [
        {name: cell for name, cell in row.items() if name not in ("median_ms", "p99_ms")}
        for row in before[:-2]
    ]
    with RunDirectory(run_copy) as directory:
        directory.write_csv("measurements.csv", old)
    assert cli("profile", run_copy)[0] == 0
    after = rows_of(run_copy)
    assert [row["genome"] for row in after] == [row["genome"] for row in before]
    assert {row["median_ms"] for row in after[:-2]} == {"nan"} and all(
        float(row["p99_ms"]) > 0 for row in after[-2:]
    )


def test_networks_whose_rounds_disagree_are_measured_until_two_agree(cli, run_copy, monkeypatch):
    device = Wavering()
    monkeypatch.setitem(DEVICES, "wavering", lambda settings: device)
    as_if_started_with(run_copy, device="wavering", more_rounds=4)
    assert cli("profile", run_copy)[0] == 0
    rows = rows_of(run_copy)
    assert [row["round"] for row in rows] == [*["0"] * 12, *["1"] * 12, *["2"] * 6]
    first = [row["genome"] for row in rows[:12]]
    assert [row["genome"] for row in rows[24:]] == first[1::2]
    assert cli("profile", run_copy) == (0, ["profile: done before"])


def test_a_network_that_never_agrees_is_given_up_in_the_end(cli, run_copy, monkeypatch):
    latency = iter(float(2**i) for i in range(1000))
    monkeypatch.setattr(
        Wavering,
        "measure",
        lambda self, model: Measurement("wavering", next(latency), 1.0, 1.0, 20, 1, "none"),
    )
    monkeypatch.setitem(DEVICES, "wavering", lambda settings: Wavering())
    as_if_started_with(run_copy, device="wavering", more_rounds=3)
    assert cli("profile", run_copy)[0] == 0
    assert [row["round"] for row in rows_of(run_copy)] == [
        str(turn) for turn in range(5) for _ in range(12)
    ]


class Flaky(Wavering):
    """A device that is lost, or hangs, for all from its sixth network on, until it is mended."""

    def __init__(self, failure):
        super().__init__()
        self.failure = failure
        self.calls = 0
        self.mended = False

    def measure(self, model):
        self.calls += 1
        if self.calls > 5 and not self.mended:
            return Measurement("flaky", np.nan, np.nan, np.nan, 0, 1, "none", self.failure)
        return Measurement("flaky", 1.0, 1.0, 1.0, 20, 1, "none")


@pytest.mark.parametrize(
    "failure",
    [
        "version: driver and library differ",
        "timeout: it did not end",
        "ConnectionError: cannot reach it",
    ],
)
def test_a_device_lost_in_mid_profile_costs_nothing(cli, run_copy, monkeypatch, failure):
    device = Flaky(failure)
    monkeypatch.setitem(DEVICES, "flaky", lambda settings: device)
    monkeypatch.setattr(watched, "PAUSE_S", 0.0)
    as_if_started_with(run_copy, device="flaky", rounds=1)
    (run_copy / "predictor.json").unlink()
    for _ in range(2):
        code, errors = cli("profile", run_copy)
        assert (
            code == 2
            and failure in errors[-1]
            and "mend the device and run the same command again" in errors[-1]
        )
        assert [row["failure"] for row in rows_of(run_copy)] == [""] * 5
    device.mended = True
    assert cli("profile", run_copy)[0] == 0
    assert [row["failure"] for row in rows_of(run_copy)] == [""] * 12
    assert cli("profile", run_copy) == (0, ["profile: done before"])


def test_verification_waits_for_a_device_that_is_lost(cli, run_copy, monkeypatch):
    device = Flaky("no device: hailortcli identify says nothing")
    device.calls = 5
    monkeypatch.setitem(DEVICES, "onnxruntime", lambda settings: device)
    monkeypatch.setattr(watched, "PAUSE_S", 0.0)
    (run_copy / "verified.csv").unlink()
    code, errors = cli("verify", run_copy)
    assert (
        code == 2
        and "is lost, at 3 attempts (no device: " in errors[-1]
        and not (run_copy / "verified.csv").exists()
    )
    device.mended = True
    assert cli("verify", run_copy)[0] == 0


def test_rows_of_a_lost_device_are_measured_again_and_failures_are_told(cli, run_copy):
    rows = rows_of(run_copy)
    rows[3] |= {"failure": "no device: hailortcli identify says nothing", "latency_ms": "nan"}
    for row in rows:
        if row["genome"] == rows[7]["genome"]:
            row |= {"failure": "allocator: no successful assignments", "latency_ms": "nan"}
    with RunDirectory(run_copy) as directory:
        directory.write_csv("measurements.csv", rows)
    (run_copy / "predictor.json").unlink()
    code, errors = cli("profile", run_copy)
    assert (
        code == 0
        and "profile: 1 measurements for which the device was lost are made again" in errors
    )
    assert "profile: 1 of 12 networks failed: allocator: no successful assignments (1)" in errors
    assert sum(row["failure"] != "" for row in rows_of(run_copy)) == 2
    assert cli("profile", run_copy) == (0, ["profile: done before"])
