"""Files of a run that are damaged, or hold what no stage writes, are named.

Before anything is drawn.
"""

import csv
import json

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.files import check_files, drawing

DAMAGED = ("", "{", "null", "[]", "5", "[" * 100_000, "\0" * 40, '"x"', "NaN", "1" * 5000)
LEAVES = {
    "data.json": ["test", "class_names", "mean", "fingerprint"],
    "environment.json": [],
    "predictor.json": ["train", "test/pearson", "validation/count"],
    "chosen.json": [
        "0/name",
        "0/role",
        "0/macs",
        "0/genome",
        "0/network",
        "0/search_accuracy",
        "0/predicted_ms",
    ],
}
COLUMNS = {
    "measurements.csv": ["round", "split", "genome", "latency_ms", "p10_ms", "p90_ms"],
    "predictions.csv": ["split", "measured_ms", "predicted_ms"],
    "verified.csv": ["name", "measured_ms", "test_accuracy"],
}


@pytest.fixture
def spoil(run_copy):
    """Puts a spoiled file in place of a right one, and asserts that it is named in one line."""
    run = RunDirectory(run_copy)
    check_files(run)

    def spoil(file: str, data: bytes) -> None:
        right = (run_copy / file).read_bytes()
        (run_copy / file).write_bytes(data)
        with pytest.raises(
            UserError, match=rf"^(corrupt: .*{file}|verified\.csv in .* lacks)"
        ) as caught:
            check_files(run)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
        (run_copy / file).write_bytes(right)

    return spoil


def test_documents(spoil, run_copy):
    for file, leaves in LEAVES.items():
        for text in DAMAGED:
            spoil(file, text.encode())
        for leaf in leaves:
            *path, last = (int(part) if part.isdecimal() else part for part in leaf.split("/"))
            for value in ([], float("inf"), None):  # None: absent
                whole = place = json.loads((run_copy / file).read_text())
                for part in path:
                    place = place[part]
                place[last] = value
                if value is None:
                    del place[last]
                spoil(file, json.dumps(whole).encode())
    for file, leaf, value in (("environment.json", "jax", 5), ("data.json", "selection", "many")):
        whole = json.loads((run_copy / file).read_text())
        spoil(file, json.dumps({**whole, leaf: value}).encode())


def test_tables(spoil, run_copy):
    for file, columns in COLUMNS.items():
        header, *rows = csv.reader((run_copy / file).read_text().splitlines())
        for column in columns:
            at = header.index(column)
            spoil(file, _table([row[:at] + row[at + 1 :] for row in (header, *rows)]))
            for value in ("x", "1e999"):
                spoil(file, _table([header, [*rows[0][:at], value, *rows[0][at + 1 :]], *rows[1:]]))


def _table(rows):
    return "".join(",".join(row) + "\n" for row in rows).encode()


def test_arrays(spoil, run_copy, tmp_path):
    with np.load(run_copy / "candidates.npz") as archive:
        right = dict(archive)
    for name in ("genomes", "fitness", "generation", "parents"):
        array = right[name]
        for wrong in (array.astype(str), array[:0], array[None], array * np.nan, array[:-1]):
            np.savez(tmp_path / "wrong.npz", **{**right, name: wrong})
            spoil("candidates.npz", (tmp_path / "wrong.npz").read_bytes())
        np.savez(
            tmp_path / "wrong.npz", **{key: value for key, value in right.items() if key != name}
        )
        spoil("random.npz", (tmp_path / "wrong.npz").read_bytes())
    for name in ("network", "feasible"):
        np.savez(tmp_path / "wrong.npz", **{**right, name: right[name][:-1]})
        spoil("candidates.npz", (tmp_path / "wrong.npz").read_bytes())


def test_arrays_of_networks_chosen(spoil, run_copy, tmp_path):
    for file in ("selection.npz", "answers.npz"):
        with np.load(run_copy / file) as archive:
            right = dict(archive)
        for name, array in right.items():
            for wrong in (
                array.astype(complex) if array.dtype.kind != "U" else array.astype("S"),
                array[:0],
                array[None],
                None,
            ):
                arrays = {
                    key: value for key, value in {**right, name: wrong}.items() if value is not None
                }
                np.savez(tmp_path / "wrong.npz", **arrays)
                spoil(file, (tmp_path / "wrong.npz").read_bytes())
        spoil(file, b"")
    with np.load(run_copy / "selection.npz") as archive:
        np.savez(
            tmp_path / "wrong.npz", **{**archive, "selection_error": archive["selection_error"] - 2}
        )
    spoil("selection.npz", (tmp_path / "wrong.npz").read_bytes())


def test_what_does_not_go_together_is_said(tmp_path):
    with (
        pytest.raises(UserError, match=r"the files of .* do not go together \(KeyError: 'x'"),
        drawing(RunDirectory(tmp_path)),
    ):
        {}["x"]
