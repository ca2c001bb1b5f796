"""The chosen networks, as chosen.json, exported.csv, verified.csv and answers.npz hold them."""

import json
import math

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.chosen import Chosen, read_chosen, write_chosen
from jaxnas.records.exported import Exported, read_exported, write_exported
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.verified import (
    Answers,
    Verified,
    read_answers,
    read_verified,
    write_answers,
    write_verified,
)
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", (Gene("width", (8, 16)), Gene("kernel", (3, 5))))
GENOME = np.array([1, 0], np.int32)
NETWORK: dict[str, int | str] = {"width": 16, "kernel": 3}
PLAIN = Chosen("fastest", "fastest", GENOME, NETWORK, 10, 5, 0.5, 0.75)
WHOLE = Chosen(
    "knee",
    "knee",
    GENOME,
    NETWORK,
    10,
    5,
    0.5,
    0.75,
    0.25,
    0.5,
    1.5,
    {"energy_uj": 2.0},
    {"memory_bytes": 1000},
)


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        yield run


def test_chosen_networks_are_read_as_they_were_written(run):
    write_chosen(run, [PLAIN, WHOLE])
    assert repr(read_chosen(run, SPACE)) == repr([PLAIN, WHOLE])
    plain, whole = run.read_json("chosen.json")
    assert "predicted_ms" not in plain and "selection_accuracy" not in plain
    assert whole["energy_uj"] == 2.0 and "costs" not in whole


@pytest.mark.parametrize(
    "change",
    [
        {"genome": [1, 2]},  # no choice of the space
        {"genome": [1]},
        {"genome": "1 0"},
        {"name": ""},
        {"macs": None},
        {"predicted_ms": "fast"},
        {"network": []},
    ],
)
def test_a_chosen_network_that_no_stage_writes_is_named(run, change):
    write_chosen(run, [WHOLE])
    values = [run.read_json("chosen.json")[0] | change]
    run.path("chosen.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"^corrupt: .*chosen\.json"):
        read_chosen(run, SPACE)


def test_two_networks_of_one_name_are_refused(run):
    write_chosen(run, [PLAIN, PLAIN])
    with pytest.raises(UserError, match="two networks have one name"):
        read_chosen(run)


def test_exported_files_are_read_by_name_and_one_that_is_missing_is_named(run):
    one = Exported("knee", "models/knee.onnx", "models/knee.int8.onnx", 1e-6, 1.0)
    other = Exported("fastest", "models/fastest.onnx", "", 2e-6, 1.0)
    write_exported(run, [one, other])
    assert read_exported(run, ["fastest"]) == {"knee": one, "fastest": other}
    with pytest.raises(UserError, match=r"^corrupt: .*exported\.csv.*no row of middle_1"):
        read_exported(run, ["knee", "middle_1"])


VERIFIED = Verified(
    name="knee",
    role="knee",
    macs=10.0,
    device="toy",
    measured_ms=1.5,
    threads=2,
    runtime="toy 1",
    simulated=True,
    test_accuracy=0.75,
    model="models/knee.onnx",
)


def test_verified_networks_are_read_as_they_were_written_and_older_ones_have_fewer_figures(run):
    write_verified(run, [VERIFIED])
    assert repr(read_verified(run)) == repr({"knee": VERIFIED})
    needed = ("name", "role", "device", "measured_ms", "threads", "runtime", "test_accuracy")
    row = run.read_csv("verified.csv")[0]
    run.write_csv("verified.csv", [{name: row[name] for name in (*needed, "model")}])
    older = read_verified(run)["knee"]
    assert (older.measured_ms, older.threads, older.simulated) == (1.5, 2, False)
    assert math.isnan(older.median_ms) and math.isnan(older.macs)


@pytest.mark.parametrize("change", [{"test_accuracy": "1.5"}, {"model": ""}, {"int8_ms": "inf"}])
def test_a_verified_network_that_no_stage_writes_is_named(run, change):
    write_verified(run, [VERIFIED])
    run.write_csv("verified.csv", [run.read_csv("verified.csv")[0] | change])
    with pytest.raises(UserError, match=r"^corrupt: .*verified\.csv"):
        read_verified(run)


def test_answers_say_which_images_a_network_answers_right(run):
    assert read_answers(run) is None
    given = np.array([[0, 1, 1], [2, 1, 0]], np.int32)
    absent = np.full((2, 3), -1, np.int32)
    write_answers(run, Answers(["knee", "fastest"], np.array([0, 1, 2]), given, absent))
    answers = read_answers(run)
    assert answers is not None and answers.right("middle_1", "float32") is None

    def right(name, precision):
        return np.asarray(answers.right(name, precision)).tolist()

    assert right("knee", "float32") == [True, True, False]
    assert right("fastest", "float32") == [False, True, False]
    assert right("knee", "int8") == [False] * 3
