"""Checkpoints of the original PyTorch implementations, with random weights and norms.

Their logits are ours.

Once-for-All is the package `ofa` (extra: peers). AttentiveNAS is no package: JAXNAS_ATTENTIVE_NAS
names a checkout of it.
"""

import importlib
import importlib.util
import os
import sys
import types
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.spaces.published import attentive_nas, ofa_mobilenet_v3
from jaxnas.supernets.build import build
from jaxnas.weights import published_mobilenet

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
pytestmark = pytest.mark.slow  # compiles the largest networks

SIZES = (56, 64)  # both networks take images of any size; 56 strides over odd sizes
TOLERANCE = 1e-4  # of the largest logit


@pytest.fixture(scope="module")
def once_for_all():
    """The class of Once-for-All's supernet.

    Its package imports torchvision, for images that are not needed here: where it is missing, an
    empty module stands in for it while the package is imported.
    """
    pytest.importorskip("ofa", reason="the package ofa is not installed (extra: peers)")
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    missing = importlib.util.find_spec("torchvision") is None
    stand_ins = {name: types.ModuleType(name) for name in names} if missing else {}
    for name, module in stand_ins.items():
        vars(module).update(
            __path__=[],
            RandomResizedCrop=object,
            transforms=stand_ins[names[1]],
            functional=stand_ins[names[2]],
        )
        sys.modules[name] = module
    with warnings.catch_warnings(action="ignore"):
        networks = importlib.import_module(
            "ofa.imagenet_classification.elastic_nn.networks.ofa_mbv3"
        )
    for name in stand_ins:
        del sys.modules[name]
    return networks.OFAMobileNetV3


def randomise(model) -> None:
    """Random weights, norms, biases and transforms; logits of deviation about 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("_matrix"):
                noise = torch.eye(len(noise)) + noise / len(noise) ** 0.5
            elif parameter.ndim > 1:
                noise = noise * (2 / parameter[0].numel()) ** 0.5
            else:
                noise = (
                    torch.exp(0.3 * noise)
                    if ".bn." in name and name.endswith("weight")
                    else 0.3 * noise
                )
            parameter.copy_(noise)


def some_genomes(space) -> list[np.ndarray]:
    """Smallest, largest and eight random ones."""
    return [space.smallest, space.largest, *np.asarray(space.sample(jax.random.key(0), 8))]


def some_images(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, size, size, 3)).astype(np.float32)


def to_torch(images: np.ndarray):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def error(ours, theirs) -> float:
    """The largest difference of logits, relative to the largest logit."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


@pytest.fixture(scope="module")
def ofa_pair(once_for_all, tmp_path_factory):
    """Once-for-All's supernet, and its weights as we read them from its checkpoint."""
    model = once_for_all(
        dropout_rate=0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    )
    randomise(model)
    path = tmp_path_factory.mktemp("ofa") / "ofa_mbv3_d234_e346_k357_w1.0"
    torch.save({"state_dict": model.state_dict()}, path, _use_new_zipfile_serialization=False)
    net = build(ofa_mobilenet_v3())
    return model, net, published_mobilenet.load(path, net).params


def ofa_logits(model, space, genome, calibration, images) -> np.ndarray:
    """Once-for-All's own procedure: set the subnet, recalibrate its norms, evaluate."""
    utils = importlib.import_module("ofa.imagenet_classification.elastic_nn.utils")
    chosen = space.decode(genome)
    blocks = [f"mb{i}_block{b}" for i in range(2, 7) for b in range(4)]
    kernels, expands = (
        [chosen[f"{block}_{kind}"] for block in blocks] for kind in ("kernel", "expand")
    )
    model.set_active_subnet(ks=kernels, e=expands, d=[chosen[f"mb{i}_depth"] for i in range(2, 7)])
    utils.set_running_statistics(model, [(to_torch(calibration), None)])
    model.eval()
    with torch.no_grad():
        return model(to_torch(images)).numpy()


def calibrated(net):
    """Logits of a subnet under the statistics of a calibration batch.

    One program for all subnets.
    """

    @jax.jit
    def logits(params, genome, calibration, images):
        return net.apply(params, images, genome, net.apply(params, calibration, genome)[1])[0]

    return logits


@pytest.mark.parametrize("size", SIZES)
def test_once_for_all(ofa_pair, size):
    model, net, params = ofa_pair
    logits = calibrated(net)
    calibration = some_images(size, 1)
    images = some_images(size, 2)
    found = []
    for genome in some_genomes(net.space):
        theirs = ofa_logits(model, net.space, genome, calibration, images)
        found.append(theirs)
        assert error(logits(params, genome, calibration, images), theirs) < TOLERANCE
    # The networks differ.
    assert min(error(a, b) for i, a in enumerate(found) for b in found[:i]) > 0.1


def each_depthwise(params, change):
    """Parameters with the depthwise layers changed that have transforms."""

    def changed(tree):
        if "transform5" in tree:
            return change(dict(tree))
        return {
            name: changed(part) if isinstance(part, dict) else part for name, part in tree.items()
        }

    return changed(params)


BUGS = {
    "transform transposed": lambda arrays: {**arrays, "transform5": arrays["transform5"].T},
    "last transform transposed": lambda arrays: {**arrays, "transform3": arrays["transform3"].T},
    "no transform": lambda arrays: {**arrays, "transform5": jnp.eye(25)},
    "kernel turned": lambda arrays: {**arrays, "kernel": arrays["kernel"].transpose(1, 0, 2, 3)},
    "shift forgotten": lambda arrays: {**arrays, "shift": jnp.zeros_like(arrays["shift"])},
    "scale forgotten": lambda arrays: {**arrays, "scale": jnp.ones_like(arrays["scale"])},
}


def test_the_comparison_sees_bugs(ofa_pair):
    model, net, params = ofa_pair
    logits = calibrated(net)
    calibration = some_images(SIZES[0], 1)
    images = some_images(SIZES[0], 2)
    genome = some_genomes(net.space)[2]
    theirs = ofa_logits(model, net.space, genome, calibration, images)
    assert error(logits(params, genome, calibration, images), theirs) < TOLERANCE
    for name, change in BUGS.items():
        assert (
            error(logits(each_depthwise(params, change), genome, calibration, images), theirs)
            > 100 * TOLERANCE
        ), name


def test_the_wider_once_for_all_is_read(once_for_all, tmp_path):
    model = once_for_all(
        dropout_rate=0,
        width_mult=1.2,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    )
    torch.save({"state_dict": model.state_dict()}, tmp_path / "ofa_mbv3_d234_e346_k357_w1.2")
    params = published_mobilenet.load(
        tmp_path / "ofa_mbv3_d234_e346_k357_w1.2", build(ofa_mobilenet_v3(width=1.2))
    ).params
    np.testing.assert_array_equal(
        params["classifier"]["kernel"], model.classifier.linear.weight.detach().numpy().T
    )


@pytest.fixture(scope="module")
def attentive_pair(tmp_path_factory):
    """AttentiveNAS's supernet, and its weights as we read them from its checkpoint."""
    if "JAXNAS_ATTENTIVE_NAS" not in os.environ:
        pytest.skip("JAXNAS_ATTENTIVE_NAS does not name a checkout of AttentiveNAS")
    yaml = pytest.importorskip("yaml")
    checkout = Path(os.environ["JAXNAS_ATTENTIVE_NAS"])
    sys.path.insert(0, str(checkout))
    try:
        models = importlib.import_module("models.attentive_nas_dynamic_model")
    finally:
        sys.path.remove(str(checkout))
    settings = yaml.safe_load(
        (checkout / "configs" / "train_attentive_nas_models.yml").read_text()
    )["supernet_config"]
    settings = SimpleNamespace(
        **{
            name: SimpleNamespace(**part) if isinstance(part, dict) else part
            for name, part in settings.items()
        }
    )
    model = models.AttentiveNasDynamicModel(settings, bn_param=(0.0, 1e-5)).train()
    randomise(model)
    path = tmp_path_factory.mktemp("attentive_nas") / "attentive_nas_pretrained.pth.tar"
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 360, "state_dict": state}, path, _use_new_zipfile_serialization=False)
    net = build(attentive_nas())
    return model, net, published_mobilenet.load(path, net).params


@pytest.mark.parametrize("size", SIZES)
def test_attentive_nas(attentive_pair, size):
    """Under batch statistics, which are all that its supernet computes with."""
    model, net, params = attentive_pair
    images = some_images(size, 1)
    found = []
    logits = jax.jit(lambda params, genome, images: net.apply(params, images, genome)[0])
    for genome in some_genomes(net.space):
        values = list(net.space.decode(genome).values())
        model.set_active_subnet(
            size,
            width=values[1:10],
            depth=values[10:17],
            kernel_size=values[17:24],
            expand_ratio=values[24:],
        )
        with torch.no_grad():
            found.append(model(to_torch(images)).numpy())
        assert error(logits(params, genome, images), found[-1]) < TOLERANCE
    # The networks differ.
    assert min(error(a, b) for i, a in enumerate(found) for b in found[:i]) > 0.1
