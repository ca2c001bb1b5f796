"""derived.json is read as it was written, and refused where it is damaged."""

from dataclasses import asdict

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.derived import Derived, read_derived, write_derived
from jaxnas.records.run_directory import RunDirectory

GENOME = np.array([1, 0, 2], np.int32)
ROWS = [
    Derived("", GENOME, {"a": 3, "b": 1, "c": 9}, 0.5, 0.4, 1, 2, False),
    Derived("cost target 2", GENOME, {"a": 3, "b": 1, "c": 9}, 0.5, 0.4, 2, 2, True, 1.0, 2.0, 2.0),
]


def test_what_is_written_is_read(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        write_derived(run, ROWS)
        for one, other in zip(read_derived(run), ROWS, strict=True):
            np.testing.assert_equal(asdict(one), asdict(other))


@pytest.mark.parametrize(
    ("name", "value"), [("genome", [1, "2"]), ("collapsed", 1), ("skips", "two"), ("cost", "dear")]
)
def test_a_damaged_file_is_said_to_be(tmp_path, name, value):
    with RunDirectory(tmp_path / "run") as run:
        write_derived(run, ROWS)
        rows = run.read_json("derived.json")
        rows[0][name] = value
        run.write_json("derived.json", rows)
        with pytest.raises(UserError, match=r"derived\.json"):
            read_derived(run)
