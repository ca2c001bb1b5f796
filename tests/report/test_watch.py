"""Reports of runs that are not finished, and one that follows a run."""

import shutil

import pytest

from jaxnas.errors import UserError
from jaxnas.records.files import STAGES
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.html import write_report
from jaxnas.report.state import state_of
from jaxnas.report.watch import TRIES, watch

# In the order in which a run writes them.
STEPS = (
    ("config.json", "environment.json", "data.json"),
    ("metrics.jsonl",),
    ("measurements.csv",),
    ("predictions.csv", "predictor.json", "predictor.npz"),
    ("candidates.npz",),
    ("random.npz",),
    ("chosen.json", "selection.npz"),
    ("exported.csv",),
    ("answers.npz", "verified.csv"),
)
DONE = (1, 1, 3, 4, 4, 5, 6, 7, 8)  # stages after each step


@pytest.fixture
def whole(make_run, tmp_path):
    """A finished run, whose files arrive in another folder step by step."""
    (tmp_path / "whole").mkdir()
    run = make_run(tmp_path / "whole")
    for name in ("predictor.npz", "exported.csv"):
        run.path(name).write_text("")
    return run


def arrive(whole, run, step) -> None:
    for name in STEPS[step]:
        if whole.exists(name):
            shutil.copy(whole.path(name), run.path(name))


def test_a_run_has_a_report_from_its_first_stage_on(whole, tmp_path):
    (tmp_path / "run").mkdir()
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(UserError, match=r"has no data\.json yet"):
        write_report(run)
    charts = []
    for step, done in enumerate(DONE):
        arrive(whole, run, step)
        text = " ".join(write_report(run).read_text().split())
        stages = [*STAGES][: done + 1]
        said = f"Not finished: {', '.join(stages[:-1])} {'is' if done == 1 else 'are'} done, "
        assert (f"{said}{stages[-1]} is next." in text) == (step < len(STEPS) - 1)
        assert ("Take B" in text) == (step == len(STEPS) - 1)
        assert ("candidates so far" in text) == (4 <= step < len(STEPS) - 1)
        charts.append(text.count("data-chart="))
    assert charts == sorted(charts) and charts[0] == 0 and charts[1] > 0 and charts[-1] == 5


def test_a_hole_is_no_beginning(whole):
    whole.path("random.npz").unlink()
    with pytest.raises(UserError, match=r"no random\.npz in .*: run `jaxnas search` first"):
        write_report(whole)


def test_watching_draws_anew_until_the_run_is_finished(whole, tmp_path, capfd):
    (tmp_path / "run").mkdir()
    run = RunDirectory(tmp_path / "run")
    for step in range(5):
        arrive(whole, run, step)
    seen = []

    def wait(seconds):
        seen.append((state_of(run).next, run.read_text("report.html").count("refresh"), seconds))
        if len(seen) > 1:
            arrive(whole, run, 3 + len(seen))

    with run:  # as the run itself does
        watch(run, wait)
    assert [one for one, _, _ in seen] == ["search", "search", "finetune", "export", "verify"]
    assert all(count == 1 for _, count, _ in seen) and seen[1][2] < 5 <= seen[0][2]
    page = run.read_text("report.html")
    assert "refresh" not in page and "Take B" in page
    lines = [line for line in capfd.readouterr().err.splitlines() if "report" in line]
    assert len(lines) == 5 and lines[0].endswith("predict done, search is next")


def test_files_that_stay_damaged_end_it(whole):
    whole.path("verified.csv").unlink()
    whole.path("measurements.csv").write_text("a,b\n1\n2,3\n")
    waited = []
    with pytest.raises(UserError, match=r"measurements\.csv"):
        watch(whole, waited.append)
    assert len(waited) == TRIES - 1
