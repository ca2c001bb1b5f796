"""A search that asks the device, as the command has it."""

import shutil

import numpy as np
import pytest

from jaxnas.records.found import KINDS
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.evaluation import in_batches


@pytest.fixture(scope="module")
def asked(changed_run):
    """A run that asked, until its search is done; made once, to be read."""
    run, errors = changed_run(["search"], "--search.look_ups", 6, "--finetune.epochs", 0)
    (run.parent / "stderr.txt").write_text(errors)
    return run


def found_of(run):
    return RunDirectory(run).read_npz("doubt.npz")


def test_the_undecided_are_measured_within_the_budget(asked):
    found = found_of(asked)
    rows = RunDirectory(asked).read_csv("asked.csv")
    before = {
        row["genome"]
        for row in RunDirectory(asked).read_csv("measurements.csv")
        if row["split"] != "test"
    }
    assert 1 <= len(rows) <= 6 and len({row["genome"] for row in rows}) == len(rows)
    assert not before & {row["genome"] for row in rows}
    assert found["measured"].sum() == len(before) + len(rows)
    by_genome = {row["genome"]: float(row["latency_ms"]) for row in rows}
    for genome, latency_ms in zip(found["genomes"], found["measured_ms"], strict=True):
        text = " ".join(map(str, genome))
        if text in by_genome:
            assert latency_ms == np.float32(by_genome[text])
    said = (asked.parent / "stderr.txt").read_text()
    assert f"search: {len(rows)} networks measured in {found['rounds'] - 1} rounds" in said


def test_it_is_done_once_and_stopped_anywhere_takes_the_same_way(cli, asked, tmp_path):
    assert cli("search", asked) == (0, ["search: done before"])
    run = shutil.copytree(asked, tmp_path / "run")
    before = found_of(asked)
    (run / "doubt.npz").unlink()
    code, errors = cli("finetune", run)
    assert code == 2 and "is not complete: run `jaxnas search` first" in errors[-1]
    assert cli("search", run)[0] == 0
    for name in KINDS:
        np.testing.assert_array_equal(before[name], found_of(run)[name])
    lines = (run / "asked.csv").read_bytes().splitlines(keepends=True)
    (run / "asked.csv").write_bytes(b"".join(lines[:-1]))
    (run / "doubt.npz").unlink()
    assert cli("search", run)[0] == 0
    assert (run / "asked.csv").read_bytes().startswith(b"".join(lines[:-1]))


@pytest.mark.slow
def test_the_chosen_are_of_the_answer_and_the_report_shows_both_fronts(cli, asked, tmp_path):
    run = shutil.copytree(asked, tmp_path / "run")
    code, errors = cli("run", run)
    assert code == 0, errors
    found = found_of(run)
    chosen = RunDirectory(run).read_json("chosen.json")
    for one in chosen:
        (row,) = np.flatnonzero((found["genomes"] == one["genome"]).all(axis=1))
        assert one["predicted_ms"] == pytest.approx(float(found["mean_ms"][row]))
    page = (run / "report.html").read_text()
    assert (
        "whose predictions left open whether they are on the front" in page and 'id="doubt-' in page
    )


def test_a_damaged_answer_is_refused(cli, asked, tmp_path):
    run = shutil.copytree(asked, tmp_path / "run")
    arrays = found_of(run)
    with RunDirectory(run) as directory:
        directory.write_npz("doubt.npz", **{**arrays, "error": arrays["error"][1:]})
    code, errors = cli("finetune", run)
    assert code == 2 and "corrupt: " in errors[-1] and "doubt.npz" in errors[-1]


def test_a_modelled_device_has_nothing_to_say(cli, micro):
    code, errors = cli("run", micro, "--device", "hailo8l_model", "--search.look_ups", 6)
    assert code == 2 and "search.look_ups must be 0 with the device hailo8l_model" in errors[-1]


def test_any_number_of_genomes_in_batches_of_one_size():
    sizes = []

    def evaluate(genomes):
        sizes.append(len(genomes))
        return genomes[:, :1] * 2.0

    genomes = np.arange(14).reshape(7, 2)
    np.testing.assert_array_equal(in_batches(evaluate, genomes, 3), genomes[:, :1] * 2.0)
    assert sizes == [3, 3, 3]
