"""Names of a user's own things."""

import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas import plugins
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.loop import search
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.published import tiny

KNOWN: dict[str, Any] = {"tiny": 1, "cifar": 2}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def my_space(size, channels, classes):\n    return size\n\n\nthing = 5\n")
    return path


def test_known_names_come_first():
    assert plugins.find("space", "tiny", KNOWN) == 1


def test_a_thing_of_a_file_and_of_a_package(file):
    assert plugins.find("space", f"{file}:my_space", KNOWN)(32, 3, 10) == 32
    assert plugins.find("space", f"{file}:thing", KNOWN) == 5
    assert plugins.find("space", "jaxnas.plugins:find", KNOWN) is plugins.find


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", "unknown space 'huge'; known: cifar, tiny, and your own as file.py:name"),
        ("tiny:0.5", "unknown space 'tiny:0.5'; known: cifar, tiny"),
        ("{file}:other", "has no 'other', which space"),
        ("none.py:x", "there is no file none.py"),
        ("jaxnas.nothing:x", "cannot import jaxnas.nothing"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(file, name, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        plugins.find("space", name.format(file=file), KNOWN)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_run(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"broken\.py does not run: ZeroDivisionError"):
        plugins.find("space", f"{path}:x", KNOWN)


def test_a_function_is_known_by_its_file(file):
    function = plugins.find("space", f"{file}:my_space", KNOWN)
    assert plugins.named(function) == f"{file}:my_space"
    assert plugins.named("tiny") == "tiny"
    with pytest.raises(UserError, match="at the top of a file"):
        plugins.named(lambda: None)


def test_the_things_of_the_manual_go_through_a_run(cli, blocks, tmp_path, monkeypatch):
    """A space, data, a method, a device, a predictor, an objective and an algorithm of one file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("\n\n".join(blocks("docs/how-to/plug-in.md")))
    code, lines = cli("run", "mine.py", "--out", "run")
    assert code == 0, lines[-3:]
    assert lines[-1].endswith("report: run/report.html")
    saved = json.loads((tmp_path / "run/config.json").read_text())
    own = (saved["space"], saved["data"]["source"], saved["train"]["method"])
    own += (saved["profile"]["device"], saved["predict"]["method"], saved["search"]["algorithm"])
    names = ("one_edge", "stripes", "largest_too", "plain", "log_linear", "HillClimber")
    assert own == tuple(f"{tmp_path / 'mine.py'}:{name}" for name in names)
    with np.load(tmp_path / "run/predictor.npz") as arrays:
        assert list(arrays) == ["slope"]
    searched = read_searched(RunDirectory(tmp_path / "run"), CANDIDATES)
    assert searched.columns.names[2] == "mine.py:flash_kib"
    (tmp_path / "run/report.html").unlink()
    code, lines = cli("report", "run")
    assert code == 0 and (tmp_path / "run/report.html").is_file(), lines[-3:]


def test_the_algorithm_of_the_manual_climbs(blocks):
    """On a front of two objectives it ends nearer than random search does."""
    exec(blocks("docs/how-to/plug-in.md")[0], names := {"__name__": "mine"})
    space = tiny(16, 1, 10)

    def fitness(genomes):
        costs = space.costs(genomes)
        return np.stack([costs.macs / 1e6, -costs.params / 1e5], axis=1).astype(np.float32)

    def covered(algorithm):
        archive = search(algorithm, space, jax.random.key(0), fitness, generations=20)
        return float(hypervolume(jnp.asarray(archive.fitness), jnp.array([2.0, 0.0])))

    assert covered(names["HillClimber"](population=20)) > 1.02 * covered(RandomSearch(20))
