"""Names of a user's own things."""

import json
import re
from typing import Any

import numpy as np
import pytest

from jaxnas import plugins
from jaxnas.errors import UserError

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


MINE = """
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.config import METHODS, Config, DataConfig, PredictConfig, ProfileConfig, SearchConfig
from jaxnas.data.dataset import make_dataset
from jaxnas.hardware.cost_model import Modelled
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

print("the file runs", file=sys.stderr)


def space(size, channels, classes):
    stage = Stage((8, 16), (1,), (3, 5), (2, 3, 4), 2)
    return mobilenet_space("mine", MobileNet((size,), (8,), 2, (stage,), (16,), channels, classes))


def images(argument, *, data_dir, search_images, calibration_images, seed):
    rng = np.random.default_rng(seed)
    labels = {name: np.arange(n, dtype=np.int32) % 2 for name, n in SIZES.items()}
    splits = {
        name: (rng.integers(0, 128, (len(row), 8, 8, 1), np.uint8) + np.uint8(120) * row[:, None,
        None, None].astype(np.uint8), row) for name, row in labels.items()
    }
    return make_dataset("mine", ("dark", "bright"), **splits, calibration_images=16, seed=seed)


SIZES = {"train": 64, "search": 32, "test": 16}


def device(settings):
    return Modelled(RAPTOR)


@dataclass(frozen=True)
class Drawn(RandomSearch):
    start: float = 1.0


def method(settings):
    return METHODS["sandwich"](settings)


class Line(NamedTuple):
    slope: jax.Array

    def __call__(self, genomes):
        return 1 + jnp.exp(genomes @ self.slope)

    def arrays(self):
        return {"slope": self.slope}


class Lines:
    def fit(self, key, space, genomes, latency_ms, validation=None):
        x = genomes[~validation]
        return Line(jnp.asarray(np.linalg.lstsq(x, latency_ms[~validation])[0], jnp.float32))

    def from_arrays(self, space, arrays):
        return Line(jnp.asarray(arrays["slope"]))


def predictor(settings):
    return Lines()


config = Config(
    "mine",
    space=space,
    data=DataConfig(source=images, calibration_images=16),
    train=TrainConfig(method=method, epochs=1, batch_size=16),
    profile=ProfileConfig(device=device, train=4, validation=2, test=2, rounds=1),
    predict=PredictConfig(predictor),
    search=SearchConfig(algorithm=Drawn, population=4, generations=2, images=16),
    finetune=FinetuneConfig(epochs=0),
)
"""


def test_things_of_ones_own_go_through_a_run_and_are_found_again(cli, tmp_path, monkeypatch):
    """A space, data, a method, a device, a predictor and an algorithm of one experiment's file."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    code, lines = cli("run", str(path), "--out", "run")
    assert code == 0, lines[-3:]
    assert lines[-1].endswith("report: run/report.html")
    saved = json.loads((tmp_path / "run/config.json").read_text())
    own = (saved["space"], saved["data"]["source"], saved["train"]["method"])
    own += (saved["profile"]["device"], saved["predict"]["method"], saved["search"]["algorithm"])
    names = ("space", "images", "method", "device", "predictor", "Drawn")
    assert own == tuple(f"{path}:{name}" for name in names)
    with np.load(tmp_path / "run/predictor.npz") as arrays:
        assert list(arrays) == ["slope"]
    (tmp_path / "run/report.html").unlink()
    code, lines = cli("report", "run")
    assert code == 0 and (tmp_path / "run/report.html").is_file(), lines[-3:]
