import shutil
import signal
import time

import pytest

from jaxnas.records.run_directory import RunDirectory
from jaxnas.weights import checkpoints

KILLED = -signal.SIGKILL
SEARCHES = ("candidates.npz", "random.npz")


def trained(run, beyond=0):
    """Whether the supernet has a checkpoint beyond a step."""
    return (checkpoints.latest_step(run / "checkpoints/supernet") or 0) > beyond


def begun(run):
    """Whether the training has taken a step."""
    path = run / "metrics.jsonl"
    return path.exists() and b'"step"' in path.read_bytes()


def measured(run, beyond):
    path = run / "measurements.csv"
    return path.exists() and path.read_bytes().count(b"\n") - 1 > beyond


def exists(name):
    return lambda run: (run / name).exists()


@pytest.fixture
def stop(start, micro):
    """Runs the command until the run directory shows a moment, then sends a signal.

    Returns the exit code and the lines on stderr.
    """

    def stop(run, moment, sent=signal.SIGKILL):
        assert not moment(run)
        process = start("run", micro, "--out", run)
        while process.poll() is None and not moment(run):
            time.sleep(0.002)
        process.send_signal(sent)
        errors = process.communicate()[1]
        return process.returncode, errors.splitlines()

    return stop


@pytest.fixture
def finish(start, micro):
    def finish(run):
        process = start("run", micro, "--out", run)
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
        assert "Traceback" not in errors and "Warning" not in errors

    return finish


def test_a_run_stopped_four_times_ends_as_if_it_never_was(
    cli, stop, finish, finished_run, tmp_path
):
    """While training, measuring, searching and fine-tuning."""
    run = tmp_path / "run"
    code, lines = stop(run, begun, signal.SIGINT)
    assert code == 130, lines
    assert lines[-1] == "jaxnas: interrupted; the same command goes on from here"
    assert not any("Traceback" in line or "Error" in line for line in lines)

    assert trained(run)  # saved because of the signal, or else there is none before step 4
    step = checkpoints.latest_step(run / "checkpoints/supernet")
    assert step is not None and step < 20
    code, lines = stop(run, lambda run: measured(run, 4))
    said = [line.split(maxsplit=2)[-1] for line in lines]  # after date and time
    assert code == KILLED and "data: done before" in said and f"train  {step}/20" in said
    kept = (run / "measurements.csv").read_bytes()
    assert 5 <= len(RunDirectory(run).read_csv("measurements.csv")) < 24

    # A line cut in half is measured again, and the lines before it are kept.
    lines = (finished_run / "measurements.csv").read_bytes().splitlines(keepends=True)
    assert lines[0] == kept.splitlines(keepends=True)[0]
    (run / "measurements.csv").write_bytes(kept[: kept.rindex(b"\n", 0, -1) + 10])
    assert cli("profile", run)[0] == 0
    whole = kept[: kept.rindex(b"\n", 0, -1) + 1]
    rows = RunDirectory(run).read_csv("measurements.csv")
    assert (run / "measurements.csv").read_bytes().startswith(whole) and len(rows) == 24
    assert [row["genome"] for row in rows] == [
        row["genome"] for row in RunDirectory(finished_run).read_csv("measurements.csv")
    ]

    # From here on all follows from the measurements: those of the run that was never stopped.
    shutil.copy(finished_run / "measurements.csv", run)
    assert stop(run, exists("candidates.npz"))[0] == KILLED
    assert not (run / "chosen.json").exists()
    code, lines = stop(run, exists("checkpoints/most_accurate/1"), signal.SIGTERM)
    assert code == 143 and lines[-1] == "jaxnas: terminated; the same command goes on from here"
    assert not (run / "chosen.json").exists()
    finish(run)
    assert not (run / "checkpoints/most_accurate/begun").exists()
    for name in (
        *SEARCHES,
        "predictor.npz",
        "chosen.json",
        *(f"models/{path.name}" for path in (finished_run / "models").iterdir()),
    ):
        assert (run / name).read_bytes() == (finished_run / name).read_bytes(), name


@pytest.mark.slow
def test_a_run_killed_at_every_stage_follows_from_its_own_measurements(stop, finish, tmp_path):
    run = tmp_path / "run"
    other = tmp_path / "other"
    moments = [
        exists("config.json"),
        exists("data.json"),
        trained,
        lambda run: trained(run, 12),
        lambda run: measured(run, 0),
        lambda run: measured(run, 15),
        exists("predictor.npz"),
        exists("candidates.npz"),
        exists("random.npz"),
        exists("checkpoints/most_accurate/0"),
        exists("checkpoints/most_accurate/2"),
        exists("chosen.json"),
        exists("models/most_accurate.onnx"),
        exists("exported.csv"),
        exists("verified.csv"),
    ]
    measurements = b""
    for moment in moments:
        if not moment(run):
            assert stop(run, moment)[0] == KILLED
        now = (
            (run / "measurements.csv").read_bytes() if (run / "measurements.csv").exists() else b""
        )
        assert now.startswith(measurements)
        measurements = now[: now.rindex(b"\n") + 1] if now else b""
    finish(run)
    assert stop(other, exists("data.json"))[0] == KILLED
    shutil.copy(run / "measurements.csv", other)
    finish(other)
    for name in (*SEARCHES, "predictor.npz", "chosen.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
