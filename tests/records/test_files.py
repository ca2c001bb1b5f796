"""The table of a run's files agrees with the stages, the settings, and what a run holds."""

import pytest

from jaxnas.pipeline import STAGES as FUNCTIONS
from jaxnas.records.files import (
    ASIDE,
    HOW_READ,
    RECORDS,
    STAGES,
    Record,
    decides,
    left_before,
)
from jaxnas.stages.unread import KNOWN, READERS


def test_every_stage_makes_a_file_and_all_but_the_last_say_when_they_are_done():
    assert list(FUNCTIONS) == list(STAGES)
    assert list(dict.fromkeys(record.made_by for record in RECORDS.values())) == list(STAGES)
    done = [record.made_by for record in RECORDS.values() if record.completes]
    assert done == list(STAGES)[:-1]


def test_every_setting_decides_a_file_but_those_of_loggers_and_how_often_a_training_is_saved():
    """So that a run cannot be taken up with another value, and be said to be the same."""
    assert [name for name in KNOWN if not decides(name)] == ["loggers", *HOW_READ, *ASIDE]


@pytest.mark.parametrize("name", RECORDS)
def test_a_file_depends_on_settings_that_there_are(name):
    record = RECORDS[name]
    for part in (*record.settings, *record.but):
        assert part in KNOWN or any(setting.startswith(f"{part}.") for setting in KNOWN)


def test_a_section_is_all_of_its_settings_and_no_other():
    record = Record("a.json", "data", ("train", "seed"), ("train.epochs",))
    names = ("train", "train.method", "train.epochs", "training.method", "seed", "name")
    assert [record.depends_on(name) for name in names] == [True, True, False, False, True, False]


def test_what_comes_before_a_stage():
    assert left_before("data") == {}
    assert left_before("profile") == {"data": "data.json", "train": "checkpoints/supernet"}
    assert list(left_before("report")) == list(STAGES)[:-1]


def test_settings_that_are_read_under_a_choice_decide_a_file_with_it():
    for reader in READERS:
        for name in {*reader.settings} - {*ASIDE, *HOW_READ}:
            files = {RECORDS[file].made_by for file in decides(name)}
            assert files & {RECORDS[file].made_by for file in decides(reader.choice)}, name


def test_a_finished_run_holds_these_files_and_no_others(finished_run):
    files = {name for name in RECORDS if "/" not in name}
    found = {path.name for path in finished_run.iterdir() if path.is_file()}
    assert found - files == {".lock", "stderr.txt"}
    # Of searches that ask the device, of searches by gradient, and of `profile --per-layer`.
    assert files - found == {"asked.csv", "doubt.npz", "derived.json", "layers.csv"}
    assert (finished_run / "checkpoints/supernet").is_dir()
