"""The manual's lines that classify a picture compute what jaxnas does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import jaxnas
from jaxnas.data.augment import normalise, resized
from jaxnas.data.dataset import make_dataset
from jaxnas.export.proof import jax_logits
from jaxnas.records.chosen import Chosen
from jaxnas.stages.export import _properties
from jaxnas.stages.job import Job, costs
from jaxnas.training.recalibrate import recalibrated

USE = "docs/how-to/use-a-network.md"


@pytest.fixture(params=[1, 3], ids=["grey", "RGB"])
def exported(request, tmp_path, monkeypatch):
    """The job of random images, each of a colour of its own, and a small network.

    Exported where the manual has it.
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


def test_a_picture_is_classified_as_by_jax(blocks, exported, capsys):
    classify, _ = blocks(USE)
    job, subnet = exported
    pixels = job.data.test.images[:4]
    expected = jax_logits(subnet, normalise(pixels, job.data.mean, job.data.deviation))
    for picture, logits in zip(pixels, expected, strict=True):
        Image.fromarray(picture.squeeze()).save("picture.png")
        exec(classify, names := {})
        assert np.abs(names["logits"] - logits).max() < 1e-4 * np.abs(logits).max()
        assert capsys.readouterr().out.strip() == job.data.class_names[logits.argmax()]
        exec(classify.replace(" - mean", ""), wrong := {})
        # A planted bug is seen.
        assert np.abs(wrong["logits"] - logits).max() > 1e-2 * np.abs(logits).max()
        capsys.readouterr()


@pytest.mark.parametrize("resizing", ["antialiased", "bilinear", "bicubic"])
def test_pictures_are_prepared_as_by_jaxnas(blocks, resizing):
    """A thousand digits of 32 pixels at three resolutions.

    The same numbers, and the same top class.
    """
    pixels = (
        np.kron(load_digits(return_X_y=True)[0][:1000].reshape(-1, 8, 8), np.ones((1, 4, 4))) * 15
    ).astype(np.uint8)
    mean = np.array([0.3], np.float32)
    deviation = np.array([0.4], np.float32)
    classify, bicubic = blocks(USE)
    lines = classify.splitlines()
    (how,) = (i for i, line in enumerate(lines) if line.startswith("how = "))
    bands = bicubic if resizing == "bicubic" else "\n".join(lines[how : how + 2])
    prepare = compile(f"{bands}\n{lines[how + 2]}", USE, "exec")
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
        network = np.random.default_rng(0).normal(size=(size * size, 10))  # any
        np.testing.assert_array_equal(
            *((some.reshape(1000, -1) @ network).argmax(1) for some in (images, expected))
        )


def test_a_large_picture_is_resized(blocks, exported, capsys):
    classify, _ = blocks(USE)
    job, _ = exported
    Image.new("RGB", (40, 30), (200, 100, 50)).save("picture.png")
    exec(classify, names := {})
    assert names["logits"].shape == (1, 3)
    assert capsys.readouterr().out.strip() in job.data.class_names
