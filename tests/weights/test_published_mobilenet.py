"""Published checkpoints as a supernet's parameters.

Names written down by hand here, and files that must be refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.published import attentive_nas, ofa_mobilenet_v3
from jaxnas.supernets.build import build
from jaxnas.weights import published_mobilenet

STAGES = (
    Stage((8, 16), (1,), (3, 5), (1,), 1),
    Stage((16, 24), (1, 2), (3, 5), (2, 3), 2, squeeze_excite=True),
)
ATTENTIVE = mobilenet_space("small_attentive", MobileNet((32,), (8, 16), 2, STAGES, (16, 24), 3, 5))
BLOCKS = (
    Stage((16,), (1,), (3,), (1,), 1, activation="relu"),
    Stage((24,), (1, 2), (3, 5, 7), (2, 3), 2, True, "hard_swish"),
)
OFA = mobilenet_space(
    "small_ofa",
    MobileNet((32,), (16,), 2, BLOCKS, (24,), 3, 5, "hard_swish", "identity", True, True),
)


def convolution(name: str, shape, norm: bool = True, wrapped: bool = True) -> dict:
    """Shapes of a convolution's tensors; dynamic modules wrap the plain ones."""
    conv, bn = ("conv.conv", "bn.bn") if wrapped else ("conv", "bn")
    shapes = {f"{name}.{conv}.weight": shape}
    if norm:
        shapes |= {
            f"{name}.{bn}.{part}": (shape[0],)
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        shapes[f"{name}.{bn}.num_batches_tracked"] = ()
    return shapes


def block(
    name: str,
    c_in: int,
    middle: int,
    c_out: int,
    kernel: int,
    squeezed: int = 0,
    wrapped: bool = True,
) -> dict:
    shapes = (
        convolution(f"{name}.inverted_bottleneck", (middle, c_in, 1, 1), wrapped=wrapped)
        if middle != c_in
        else {}
    )
    shapes |= convolution(f"{name}.depth_conv", (middle, 1, kernel, kernel), wrapped=wrapped)
    if squeezed:
        shapes |= {
            f"{name}.depth_conv.se.fc.reduce.weight": (squeezed, middle, 1, 1),
            f"{name}.depth_conv.se.fc.reduce.bias": (squeezed,),
        }
        shapes |= {
            f"{name}.depth_conv.se.fc.expand.weight": (middle, squeezed, 1, 1),
            f"{name}.depth_conv.se.fc.expand.bias": (middle,),
        }
    return shapes | convolution(f"{name}.point_linear", (c_out, middle, 1, 1), wrapped=wrapped)


def attentive_shapes() -> dict:
    """What AttentiveNAS's code would save of the first space, trained on many machines."""
    shapes = convolution("first_conv", (16, 3, 3, 3))
    for i, sizes in enumerate([(16, 16, 16, 5, 0), (16, 48, 24, 5, 16), (24, 72, 24, 5, 24)]):
        shapes |= block(f"blocks.{i}.mobile_inverted_conv", *sizes)
        shapes |= convolution(f"blocks.{i}.shortcut", (sizes[2], sizes[0], 1, 1), norm=False)
        shapes |= {
            f"blocks.{i}.mobile_inverted_conv.point_linear.bn.bn_tracking.{k}.running_mean": (
                sizes[2],
            )
            for k in range(2)
        }
    shapes |= convolution("last_conv.final_expand_layer", (144, 24, 1, 1))
    shapes |= convolution("last_conv.feature_mix_layer", (24, 144, 1, 1), norm=False)
    shapes |= {"classifier.linear.linear.weight": (5, 24), "classifier.linear.linear.bias": (5,)}
    return {f"module.{name}": shape for name, shape in shapes.items()}


def ofa_shapes(name: str = "conv") -> dict:
    """What Once-for-All's code saves of the second space.

    `name` of a block's convolution: `mobile_inverted_conv` until 2021.
    """
    shapes = convolution("first_conv", (16, 3, 3, 3), wrapped=False) | block(
        f"blocks.0.{name}", 16, 16, 16, 3, wrapped=False
    )
    for i, sizes in enumerate([(16, 48, 24, 7, 16), (24, 72, 24, 7, 24)], 1):
        shapes |= block(f"blocks.{i}.{name}", *sizes)
        shapes |= {
            f"blocks.{i}.{name}.depth_conv.conv.7to5_matrix": (25, 25),
            f"blocks.{i}.{name}.depth_conv.conv.5to3_matrix": (9, 9),
        }
    shapes |= convolution("final_expand_layer", (144, 24, 1, 1), wrapped=False)
    shapes |= convolution("feature_mix_layer", (24, 144, 1, 1), norm=False, wrapped=False)
    return shapes | {"classifier.linear.weight": (5, 24), "classifier.linear.bias": (5,)}


def random_tensors(shapes: dict) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        name: np.asarray(generator.normal(size=shape), np.float32) for name, shape in shapes.items()
    }


@pytest.fixture
def load(write_checkpoint, tmp_path):
    """Writes tensors and loads them into the supernet of a space."""
    return lambda space, tensors, **options: published_mobilenet.load(
        write_checkpoint(tmp_path / "net.pth", tensors), build(space), **options
    )


def test_attentive_nas(load):
    tensors = random_tensors(attentive_shapes())
    found = load(ATTENTIVE, tensors)
    params = found.params
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, jax.eval_shape(build(ATTENTIVE).init, jax.random.key(0))
    )
    theirs = {name.removeprefix("module."): array for name, array in tensors.items()}
    block = theirs["blocks.2.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight"]
    np.testing.assert_array_equal(
        params["mb2"]["block1"]["expand"]["kernel"][0, 0], block[:, :, 0, 0].T
    )
    depthwise = theirs["blocks.1.mobile_inverted_conv.depth_conv.conv.conv.weight"]
    np.testing.assert_array_equal(
        params["mb2"]["block0"]["depthwise"]["kernel"][1, 4, 0], depthwise[:, 0, 1, 4]
    )
    np.testing.assert_array_equal(
        params["mb2"]["block0"]["shortcut"]["kernel"][0, 0],
        theirs["blocks.1.shortcut.conv.conv.weight"][:, :, 0, 0].T,
    )
    np.testing.assert_array_equal(
        params["first_conv"]["kernel"][2, 1, 0], theirs["first_conv.conv.conv.weight"][:, 0, 2, 1]
    )
    np.testing.assert_array_equal(
        params["classifier"]["kernel"], theirs["classifier.linear.linear.weight"].T
    )
    np.testing.assert_array_equal(
        params["last_conv"]["expand"]["shift"], theirs["last_conv.final_expand_layer.bn.bn.bias"]
    )
    excite = params["mb2"]["block0"]["squeeze_excite"]["excite"]
    np.testing.assert_array_equal(
        excite["bias"], theirs["blocks.1.mobile_inverted_conv.depth_conv.se.fc.expand.bias"]
    )
    assert published_mobilenet.notice(found) == (
        "weights of AttentiveNAS / AlphaNet; published under this licence: CC BY-NC 4.0, which "
        "forbids commercial use"
    )


@pytest.mark.parametrize("name", ["conv", "mobile_inverted_conv"])
def test_once_for_all(load, name):
    tensors = random_tensors(ofa_shapes(name))
    found = load(OFA, tensors)
    depthwise = found.params["mb2"]["block1"]["depthwise"]
    assert {array: value.shape for array, value in depthwise.items() if "transform" in array} == {
        "transform5": (25, 25),
        "transform3": (9, 9),
    }
    np.testing.assert_array_equal(
        depthwise["kernel"][6, 0, 0],
        tensors[f"blocks.2.{name}.depth_conv.conv.conv.weight"][:, 0, 6, 0],
    )
    np.testing.assert_array_equal(
        found.params["mb1"]["block0"]["project"]["scale"],
        tensors[f"blocks.0.{name}.point_linear.bn.weight"],
    )
    assert (
        published_mobilenet.notice(found)
        == "weights of Once-for-All; published under this licence: MIT"
    )


def test_every_array_is_used_once(load):
    """Each of our arrays holds the numbers of one tensor of theirs, and no two the same."""
    for space, shapes in ((ATTENTIVE, attentive_shapes()), (OFA, ofa_shapes())):
        tensors = random_tensors(shapes)
        unused = [
            name
            for name in tensors
            if "running" in name or "num_batches" in name or "blocks.2.shortcut" in name
        ]
        sums = sorted(
            round(float(array.sum(dtype=np.float64)), 4)
            for name, array in tensors.items()
            if name not in unused
        )
        loaded = sorted(
            round(float(np.asarray(array).sum(dtype=np.float64)), 4)
            for array in jax.tree.leaves(load(space, tensors).params)
        )
        np.testing.assert_allclose(loaded, sums, atol=2e-4)


def test_half_precision_becomes_single(load):
    half = {name: array.astype(np.float16) for name, array in random_tensors(ofa_shapes()).items()}
    params = load(OFA, half).params
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(params["classifier"]["bias"], half["classifier.linear.bias"])


PREFIXES = (
    "",
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.",
    "backbone.net.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_prefixes_that_programs_put_before_names(load, prefix):
    tensors = random_tensors(ofa_shapes())
    plain = load(OFA, tensors).params
    prefixed = load(OFA, {prefix + name: array for name, array in tensors.items()}).params
    jax.tree.map(np.testing.assert_array_equal, prefixed, plain)


def test_a_compiled_part_and_an_averaged_model(load):
    tensors = random_tensors(ofa_shapes())
    named = {
        f"module.{name.replace('conv.depth_conv', 'conv._orig_mod.depth_conv')}": array
        for name, array in tensors.items()
    }
    found = load(OFA, {"n_averaged": np.ones((), np.float32), **named}).params
    jax.tree.map(np.testing.assert_array_equal, found, load(OFA, tensors).params)


def test_two_networks_in_one_file_are_told_apart_by_nobody(load):
    tensors = random_tensors(ofa_shapes())
    both = {
        f"{prefix}.{name}": array
        for prefix in ("teacher", "student")
        for name, array in tensors.items()
    }
    assert "expected a tensor first_conv.conv.weight, got" in refused(load, OFA, both)


def refused(load, *arguments, **options) -> str:
    with pytest.raises(UserError) as error:
        load(*arguments, **options)
    assert str(error.value).isprintable()
    return str(error.value)


def test_a_classifier_of_ones_own(load):
    own = {"kernel": jnp.ones((24, 3)), "bias": jnp.zeros(3)}
    three = mobilenet_space("three", MobileNet((32,), (8, 16), 2, STAGES, (16, 24), 3, 3))
    tensors = random_tensors(attentive_shapes())
    assert (
        "classifier.linear.bias of three is (3,), found (5,); give `classifier` to keep another"
        in refused(load, three, tensors)
    )
    params = load(three, tensors, classifier=own).params
    np.testing.assert_array_equal(params["classifier"]["kernel"], own["kernel"])
    np.testing.assert_array_equal(
        params["first_conv"]["scale"], tensors["module.first_conv.bn.bn.weight"]
    )
    assert "`classifier` should have bias of shape (3,), got (5,)" in refused(
        load, three, tensors, classifier=build(ATTENTIVE).init(jax.random.key(0))["classifier"]
    )


def test_what_a_checkpoint_says_of_itself(write_checkpoint, tmp_path):
    tensors = random_tensors(attentive_shapes())
    path = write_checkpoint(tmp_path / "net.pth", tensors, {"model": {}, "state_dict_ema": {}})
    assert published_mobilenet.look(path, build(ATTENTIVE)) == (
        *published_mobilenet.load(path, build(ATTENTIVE))[1:],
        5,
        "state_dict",
        (),
    )
    headless = {name: array for name, array in tensors.items() if "classifier" not in name}
    assert (
        published_mobilenet.look(
            write_checkpoint(tmp_path / "net.pth", headless), build(ATTENTIVE)
        ).classes
        is None
    )
    with pytest.raises(
        UserError,
        match=r"another space: first_conv\.conv\.weight of attentive_nas is \(24, 3, 3, 3\)",
    ):
        published_mobilenet.look(path, build(attentive_nas()))


def test_a_checkpoint_of_another_space(load):
    message = refused(load, OFA, random_tensors(attentive_shapes()))
    assert (
        "another space: blocks.0.conv.depth_conv.conv.weight of small_ofa is (16, 1, 3, 3), "
        "found (16, 1, 5, 5)"
    ) in message
    message = refused(load, ATTENTIVE, random_tensors(ofa_shapes()))
    assert (
        "blocks.0.conv.depth_conv.conv.weight of small_attentive is (16, 1, 5, 5), found (16, "
        "1, 3, 3)"
    ) in message
    assert (
        "first_conv.conv.weight of attentive_nas is (24, 3, 3, 3), found (16, 3, 3, 3)"
        in refused(load, attentive_nas(), random_tensors(attentive_shapes()))
    )
    assert (
        "blocks.1.conv.depth_conv.conv.weight of ofa_mobilenet_v3 is (96, 1, 7, 7), found (48, "
        "1, 7, 7)"
    ) in refused(load, ofa_mobilenet_v3(), random_tensors(ofa_shapes()))
    message = refused(load, OFA, {"layer.weight": np.ones(3, np.float32)})
    assert (
        "is no checkpoint of AttentiveNAS, AlphaNet or Once-for-All" in message
        and "the first of them 'layer.weight'" in message
    )


def test_one_tensor_less_more_or_other(load):
    tensors = random_tensors(ofa_shapes())
    for name in list(tensors)[::4]:
        less = {key: array for key, array in tensors.items() if key != name}
        if "running" not in name and "num_batches" not in name:
            assert (
                "found absent" if "first_conv.conv" not in name else "expected a tensor first_conv"
            ) in refused(load, OFA, less)
            turned = np.ascontiguousarray(tensors[name].reshape(-1, 1))
            assert f"found {turned.shape}" in refused(load, OFA, {**tensors, name: turned})
    assert "small_ofa has no 'blocks.3.conv.weight'" in refused(
        load, OFA, {**tensors, "blocks.3.conv.weight": tensors["classifier.linear.bias"]}
    )
    assert "'blocks.1.shortcut.conv.weight'" in refused(
        load, OFA, {**tensors, "blocks.1.shortcut.conv.weight": tensors["classifier.linear.bias"]}
    )
    assert "is there twice" in refused(
        load, OFA, {**tensors, "module.classifier.linear.bias": tensors["classifier.linear.bias"]}
    )
    assert "has no 'x\\ny'" in refused(
        load, OFA, {**tensors, "x\ny": tensors["classifier.linear.bias"]}
    )


def test_numbers_that_are_none(load):
    tensors = random_tensors(ofa_shapes())
    tensors["blocks.1.conv.point_linear.conv.conv.weight"][3, 4] = np.nan
    assert "blocks.1.conv.point_linear.conv.weight should hold finite" in refused(
        load, OFA, tensors
    )
    whole = {name: array.astype(np.int32) for name, array in random_tensors(ofa_shapes()).items()}
    assert "finite floating-point numbers, found int32" in refused(load, OFA, whole)


def test_hostile_and_damaged_files(write_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors = random_tensors(ofa_shapes())
    net = build(OFA)
    path = write_checkpoint(
        tmp_path / "hostile.pth",
        tensors,
        {"args": b"cos\nsystem\n(X\x0e\x00\x00\x00touch executedtR"},
    )
    np.testing.assert_array_equal(
        published_mobilenet.load(path, net).params["classifier"]["bias"],
        tensors["classifier.linear.bias"],
    )
    assert not (tmp_path / "executed").exists()
    whole = write_checkpoint(tmp_path / "whole.pth", tensors).read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "part.pth").write_bytes(whole[:length])
        assert "part.pth" in refused(published_mobilenet.load, tmp_path / "part.pth", net)
    assert "no such file" in refused(published_mobilenet.load, "absent.pth", net)
