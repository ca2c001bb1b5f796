import pkgutil
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import jaxnas
from jaxnas.arguments import COMMANDS
from jaxnas.cli import main
from jaxnas.config import make_space
from jaxnas.data.augment import normalise, resized
from jaxnas.data.dataset import make_dataset
from jaxnas.experiment import load_config
from jaxnas.export.proof import jax_logits
from jaxnas.records.chosen import Chosen
from jaxnas.stages.export import _properties
from jaxnas.stages.job import Job, costs, load_space
from jaxnas.training.recalibrate import recalibrated

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
LIBRARY, OWN_SPACE, OWN_FAMILY, CLASSIFY, BICUBIC = re.findall(
    r"```python\n(.*?)```", README, re.DOTALL
)
OWN_FILE, OWN_CHIP = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("name", jaxnas.__all__)
def test_public_name_is_documented(name):
    text = getattr(jaxnas, name).__doc__
    assert text
    assert not text.startswith(f"{name}(")  # what dataclasses and named tuples say of themselves


def test_public_names_hide_no_module():
    assert len(set(jaxnas.__all__)) == len(jaxnas.__all__)
    modules = {module.name for module in pkgutil.iter_modules(jaxnas.__path__)}
    assert not modules & set(jaxnas.__all__)
    assert all(
        getattr(jaxnas, name) is sys.modules[f"jaxnas.{name}"]
        for name in modules & set(vars(jaxnas))
    )


def test_readme_names_stages_and_files_as_the_command_does():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", README, re.MULTILINE)
    files = {name: re.findall(r"`([^`]+)`", written) for name, written in rows}
    assert list(files) == [name for name in COMMANDS if name != "run"]
    for name, written in files.items():
        for file in re.findall(r"[\w/*]+\.\w+|\w+/\w+", COMMANDS[name]):
            assert file.replace("*", "NAME") in written


def test_readme_paths_exist():
    paths = re.findall(r"\]\(([^)]+)\)", README) + re.findall(
        r"^\| `([\w/]+/)` \|", README, re.MULTILINE
    )
    paths += re.findall(r"jaxnas run (\S+\.py)", README)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_opens_with_its_question_and_command(path):
    text = path.read_text()
    assert text.startswith('"""Question: ')
    assert f"\n## {path.stem}\n" in (ROOT / "experiments/README.md").read_text()
    names = (
        ["config"]
        if "\nconfig = " in text
        else re.findall(r"^(\w+) = (?:Config|replace)\(", text, re.MULTILINE)
    )
    for name in names:
        config = load_config(f"{path}:{name}")
        assert config.name == (path.stem if name == "config" else name)
        assert make_space(config.space)(32, 3, 10).size() > 1
    command = r"jaxnas \w+" if names else "python"  # a program of its own
    assert re.search(rf"^Commands?: {command} experiments/{path.name}", text, re.MULTILINE)


def test_readme_library_example_finds_and_measures_a_network(capsys):
    exec(LIBRARY, names := {})
    fitness = names["archive"].fitness
    best = np.asarray(names["evaluate"](names["genome"][None]))[0]
    assert not ((fitness <= best).all(axis=1) & (fitness < best).any(axis=1)).any()
    assert best[0] == sum(op.macs for op in names["subnet"].ops)
    assert "Measurement(device='onnxruntime'" in capsys.readouterr().out


def test_readme_builds_a_space_of_its_own_in_python_and_from_a_file(tmp_path, capsys):
    exec(OWN_SPACE, names := {})
    space = names["space"]
    assert capsys.readouterr().out.startswith(f"{space.size()} {{'resolution': 32, ")
    (tmp_path / "mine.toml").write_text(OWN_FILE)
    loaded = load_space(jaxnas.Config("mine", space=str(tmp_path / "mine.toml")), _noise())
    assert loaded.name == "mine" and loaded.resolutions == (16,)
    assert [gene.name for gene in loaded.genes] == [gene.name for gene in space.genes]
    assert [gene.choices for gene in loaded.genes[1:]] == [gene.choices for gene in space.genes[1:]]


def test_readme_describes_a_family_of_its_own(capsys):
    exec(OWN_FAMILY, names := {"jaxnas": jaxnas})
    assert capsys.readouterr().out.startswith("(Op(kind='conv', path='stem'")
    space = names["mine"]
    by_edge = [len(space.ops(np.array([0, edge], np.int32))) for edge in (0, 1)]
    assert by_edge == [4, 3]


def test_readme_describes_a_device_of_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("chip.toml").write_text(OWN_CHIP)
    assert main(["inspect", "largest", "--space", "mobilenet_v2:0.5", "--device", "chip.toml"]) == 0
    assert "on chip (made up for this page)" in capsys.readouterr().out
    assert Path("mobilenet_v2_0.5_224_chip.svg").read_text().endswith("</svg>\n")


def _noise() -> jaxnas.Dataset:
    split = (np.zeros((48, 16, 16, 3), np.uint8), np.arange(48) % 3)
    return make_dataset(
        "noise",
        ("ant", "bee", "cow"),
        train=split,
        search=split,
        test=split,
        calibration_images=48,
        seed=0,
    )


@pytest.fixture(params=[1, 3], ids=["grey", "RGB"])
def exported(request, tmp_path, monkeypatch):
    """The job of random images, each of a colour of its own, and a small network.

    Exported where README has it.
    """
    channels = request.param
    draw = np.random.default_rng(channels)
    images = draw.integers(0, 256, (48, 1, 1, channels)) // 2 + draw.integers(
        0, 128, (48, 16, 16, channels)
    )
    split = (images.astype(np.uint8), np.arange(48) % 3)
    data = make_dataset(
        "noise",
        ("ant", "bee", "cow"),
        train=split,
        search=split,
        test=split,
        calibration_images=48,
        seed=0,
    )
    monkeypatch.chdir(tmp_path)
    space = jaxnas.tiny(16, channels, 3)
    job = Job(
        jaxnas.RunDirectory("runs/quickstart"),
        jaxnas.Config("quickstart"),
        data,
        space,
        jaxnas.build_supernet(space),
    )
    subnet = recalibrated(_random_subnet(job, draw), job.examples(data.calibration, 16).calibration)
    chosen = Chosen(
        "most_accurate",
        "most accurate",
        space.smallest,
        space.decode(space.smallest),
        **costs(subnet.ops),
        search_accuracy=0.4,
        finetuned_search_accuracy=0.5,
    )
    model = jaxnas.export_onnx(subnet, 16, 16, channels, _properties(job, chosen))
    job.run.write_bytes("models/most_accurate.onnx", model)
    return job, subnet


def _random_subnet(job: Job, draw: np.random.Generator) -> jaxnas.Subnet:
    """The smallest network with every weight drawn anew.

    So that logits differ and norms that start at 0 count.
    """
    shapes = jax.eval_shape(job.net.init, jax.random.key(0))
    params = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), jnp.float32), shapes
    )
    return job.net.extract(params, job.space.smallest, {})


def test_readme_classifies_a_picture_as_jax_does(exported, capsys):
    job, subnet = exported
    pixels = job.data.test.images[:4]
    expected = jax_logits(subnet, normalise(pixels, job.data.mean, job.data.deviation))
    for picture, logits in zip(pixels, expected, strict=True):
        Image.fromarray(picture.squeeze()).save("picture.png")
        exec(CLASSIFY, names := {})
        assert np.abs(names["logits"] - logits).max() < 1e-4 * np.abs(logits).max()
        assert capsys.readouterr().out.strip() == job.data.class_names[logits.argmax()]
        exec(CLASSIFY.replace(" - mean", ""), wrong := {})
        # A planted bug is seen.
        assert np.abs(wrong["logits"] - logits).max() > 1e-2 * np.abs(logits).max()
        capsys.readouterr()


@pytest.mark.parametrize("resizing", ["antialiased", "bilinear", "bicubic"])
def test_readme_prepares_pictures_as_jaxnas_does(resizing):
    """A thousand digits of 32 pixels at three resolutions.

    The same numbers, and the same top class.
    """
    pixels = (
        np.kron(load_digits(return_X_y=True)[0][:1000].reshape(-1, 8, 8), np.ones((1, 4, 4))) * 15
    ).astype(np.uint8)
    mean = np.array([0.3], np.float32)
    deviation = np.array([0.4], np.float32)
    lines = CLASSIFY.splitlines()
    (how,) = (i for i, line in enumerate(lines) if line.startswith("how = "))
    bands = BICUBIC if resizing == "bicubic" else "\n".join(lines[how : how + 2])
    prepare = compile(f"{bands}\n{lines[how + 2]}", "README.md", "exec")
    given = {
        "np": np,
        "Image": Image,
        "about": {"interpolation": resizing},
        "image_size": 32,
        "mean": mean,
        "deviation": deviation,
    }
    for size in (24, 32, 40):

        def prepared(one, names):
            exec(prepare, names)
            return names["image"]

        images = np.stack(
            [
                prepared(one, {**given, "size": size, "picture": Image.fromarray(one)})
                for one in pixels
            ]
        )
        expected = np.asarray(
            resized(normalise(pixels[..., None], mean, deviation), size, resizing)
        )
        np.testing.assert_allclose(images, expected, atol=1e-5)
        classify = np.random.default_rng(0).normal(size=(size * size, 10))  # any network
        np.testing.assert_array_equal(
            *((some.reshape(1000, -1) @ classify).argmax(1) for some in (images, expected))
        )


def test_readme_resizes_a_large_picture(exported, capsys):
    job, _ = exported
    Image.new("RGB", (40, 30), (200, 100, 50)).save("picture.png")
    exec(CLASSIFY, names := {})
    assert names["logits"].shape == (1, 3)
    assert capsys.readouterr().out.strip() in job.data.class_names
