"""Genomes that a search begins with: typed, of a file, of a run; and what is refused."""

import json

import numpy as np
import pytest

from jaxnas.algorithms.loop import Archive
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, Searched, write_searched
from jaxnas.records.line_files import plain
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space
from jaxnas.stages import initial
from jaxnas.stages.initial import initial_genomes

SPACE = Space("toy", tuple(Gene(name, (8, 16, 24)) for name in ("width", "depth", "kernel")))
SETTINGS = {"genes": {gene.name: list(gene.choices) for gene in SPACE.genes}}
GENOMES = [[0, 1, 2], [2, 1, 0]]
# Three of the front, one of them twice; one failed, one worse.
ROWS = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0], [2, 2, 2], [0, 1, 0], [2, 0, 2]], np.int32)
FITNESS = np.array(
    [[0.1, 9.0], [0.2, 8.0], [0.1, 9.0], [0.9, 1.0], [np.nan, 0.0], [0.95, 9.5]], np.float32
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Another run in the space."""
    monkeypatch.setattr(Space, "settings", {"name": "toy", **SETTINGS})
    none = np.full((6, 2), -1, np.int32)
    searched = Searched(
        Archive(ROWS, FITNESS, np.zeros(6, np.int32), none), {"error": "", "mmacs": ""}
    )
    with RunDirectory(tmp_path / "run") as run:
        run.write_json("space.json", {"name": "of old", **SETTINGS})
        write_searched(run, CANDIDATES, searched, 0)
    return run


def named(text, room=9):
    return initial_genomes(str(text), SPACE, room).tolist()


@pytest.mark.parametrize("text", ["0 1 2,2 1 0", "0 1 2 2 1 0", "0,1,2,2,1,0", " 0 1 2;2 1 0;"])
def test_genomes_are_typed_as_files_have_them(text):
    assert named(text) == GENOMES


def test_files_of_genomes(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    assert named(write("a.txt", "0 1 2\n2 1 0\n")) == GENOMES
    assert named(write("a.json", json.dumps(GENOMES))) == GENOMES
    assert named(write("b.json", json.dumps([{"genome": "0 1 2"}, {"genome": [2, 1, 0]}])))
    np.savez(tmp_path / "a.npz", allow_pickle=False, genomes=np.array(GENOMES))
    assert named(tmp_path / "a.npz") == GENOMES
    np.savez(tmp_path / "b.npz", allow_pickle=False, genomes=ROWS, fitness=FITNESS)
    assert named(tmp_path / "b.npz") == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_of_a_run_the_front_and_of_a_large_one_its_ends(run):
    assert named(run.root) == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert named(run.root, 2) == [[0, 0, 0], [2, 2, 2]]


def test_of_a_run_with_limits_what_is_within(run):
    arrays = run.read_npz(CANDIDATES)
    with run:
        run.write_npz(CANDIDATES, **arrays, feasible=FITNESS[:, 1] > 5)
    assert named(run.root) == named(run.path(CANDIDATES)) == [[0, 0, 0], [1, 1, 1]]


def refused(text, match, room=9):
    with pytest.raises(UserError, match=match) as caught:
        named(text, room)
    assert "\n" not in str(caught.value)


def test_what_is_refused(run, tmp_path):
    refused("nowhere.npz", "neither there nor genomes: name the genomes themselves")
    refused("", "names no genome")
    refused("0 1 2 0", "has 4 choices, but a genome of toy has 3")
    refused("0 1 3", "has the choice 3 for the gene kernel of toy, which has 0 to 2")
    refused("0 1 2,2 1 0", r"more networks \(2\) than fit into the first generation \(1\)", room=1)
    refused(tmp_path, "has no candidates.npz: name a run that has searched")
    damaged = tmp_path / "damaged.npz"
    for content in (b"", b"PK", b"PK\x03\x04"):
        damaged.write_bytes(content)
        refused(damaged, "holds no genomes")
    np.savez(tmp_path / "a.npz", allow_pickle=False, genomes=np.zeros((2, 4), int))
    refused(tmp_path / "a.npz", "has genomes of 4 choices, but the space toy has 3 genes")
    (tmp_path / "a.json").write_text("{}")
    refused(tmp_path / "a.json", "expected a list of genomes, got dict")
    np.savez(tmp_path / "b.npz", allow_pickle=False, genomes=ROWS, fitness=FITNESS[:2])
    refused(tmp_path / "b.npz", "expected fitness of 6 genomes, got shape")
    np.savez(tmp_path / "b.npz", allow_pickle=False, genomes=ROWS, fitness=FITNESS * np.nan)
    refused(tmp_path / "b.npz", "names no genome whose evaluation succeeded")
    refused(run.root, r"more networks \(1\) than fit into the first generation \(0\)", room=0)
    with run:
        run.write_json("space.json", {"name": "toy", "genes": {"width": [1]}})
    refused(run.root, "is a run in another space than toy")


def test_a_space_of_another_family_is_another(monkeypatch):
    assert plain(initial._structure(SPACE, {"name": "toy", **SETTINGS})) == plain(SETTINGS)
    monkeypatch.setattr(Space, "completed", lambda space, saved: saved["stages"])
    assert initial._structure(SPACE, SETTINGS) is None
