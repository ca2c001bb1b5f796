"""A search whose candidates are trained before they are ranked, as the command has it."""

import numpy as np
import pytest

from jaxnas.records.run_directory import RunDirectory

TRAINED = (
    "--search.hybrid.epochs",
    4,
    "--search.hybrid.head-epochs",
    2,
    "--search.hybrid.learning-rate",
    0.1,
)


@pytest.fixture(scope="module")
def trained(changed_run):
    short = ("--search.generations", 1, "--finetune.epochs", 0)
    run, _ = changed_run(
        ["search", "finetune"], *TRAINED, *short, without=("candidates.npz", "random.npz")
    )
    return run


def test_candidates_are_ranked_by_what_they_learn(finished_run, trained):
    before, after = (
        RunDirectory(run).read_npz("candidates.npz") for run in (finished_run, trained)
    )
    np.testing.assert_array_equal(before["genomes"][:4], after["genomes"][:4])
    assert (after["fitness"][:4, 0] < before["fitness"][:4, 0] - 0.05).all()
    np.testing.assert_array_equal(before["fitness"][:4, 1], after["fitness"][:4, 1])


def test_the_chosen_go_on_from_what_the_search_made_of_them(trained):
    archive = RunDirectory(trained).read_npz("candidates.npz")
    chosen = RunDirectory(trained).read_json("chosen.json")
    for one in chosen:
        (row, *_) = np.flatnonzero((archive["genomes"] == one["genome"]).all(1))
        # An image of 40.
        assert one["search_accuracy"] == pytest.approx(1 - archive["fitness"][row, 0], abs=0.026)


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (("--search.hybrid.share", 0), "search.hybrid.share must be above 0, got 0.0"),
        (("--search.hybrid.epochs", -1), "search.hybrid.epochs must be at least 0"),
        (
            ("--search.hybrid.epochs", 1, "--search.hybrid.share", 0.01),
            "search.hybrid.batch_size must be at most the 13 training images",
        ),
        (
            ("--search.hybrid.epochs", 1, "--export.precision", "int8"),
            "search.hybrid trains float32 networks",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(cli, micro, tmp_path, settings, complaint):
    code, lines = cli("data", micro, "--out", tmp_path / "run", *settings)
    assert code == 2 and complaint in lines[-1] and not (tmp_path / "run").exists()
