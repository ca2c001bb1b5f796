"""A stranger's path: the wheel in a fresh environment, and nothing of a checkout."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = (
    "--train.epochs 4 --profile.train 24 --profile.validation 12 --profile.test 12 "
    "--search.population 12 --search.generations 4 --finetune.epochs 1 --finetune.networks 2"
)
PICTURE = """
from jaxnas.data import cluttered_digits
from PIL import Image
test = cluttered_digits.load(
    "", data_dir=None, search_images=400, calibration_images=64, seed=0
).test
Image.fromarray(test.images[0, :, :, 0]).resize((97, 97)).save("picture.png")
"""


class Stranger:
    """Runs programs of an environment in an empty folder, without this session's variables."""

    def __init__(self, folder: Path):
        self.bin = folder / "environment/bin"
        self.folder = folder / "home"
        self.folder.mkdir()
        venv.create(folder / "environment", with_pip=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.variables = kept | {"JAXNAS_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}

    def run(self, program: str, *arguments: object) -> str:
        """What a program prints, if it succeeds."""
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Someone who has installed the wheel of this tree, with the pinned versions."""
    folder = tmp_path_factory.mktemp("stranger")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("jaxnas-*.whl")
    stranger = Stranger(folder)
    stranger.run("python", "-m", "pip", "install", "-q", "-c", ROOT / "requirements.lock", wheel)
    return stranger


@pytest.mark.slow
def test_a_wheel_alone_leads_from_nothing_to_a_classified_picture(stranger, blocks):
    run = "runs/quickstart"
    assert str(stranger.bin.parent) in stranger.run("python", "-c", "import jaxnas as j; print(j)")
    stranger.run("jaxnas", "run", "quickstart", *SHORT.split())
    shown = stranger.run("jaxnas", "show", run)
    slowest = max(map(float, re.findall(r"([0-9.]+) ms", shown)))
    before = (stranger.folder / run / "chosen.json").read_text()
    stranger.run("jaxnas", "pick", run, "--under", f"{slowest}ms", "-n", "1")
    (model,) = (
        path
        for path in (stranger.folder / run / "models").glob("*.onnx")
        if "int8" not in path.name
    )
    assert (stranger.folder / run / "chosen.json").read_text() != before
    stranger.run("python", "-c", PICTURE)
    code = blocks("docs/how-to/use-a-network.md")[0].replace("most_accurate", model.stem)
    assert stranger.run("python", "-c", code).strip() in list("0123456789")
