"""What a supernet starts from: whose classifier it gets is decided by the file, and said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.preparation import OWN
from jaxnas.errors import UserError
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.supernets.build import build
from jaxnas.weights import pretrained, published_mobilenet
from jaxnas.weights.trained import to_bytes

STAGES = (Stage((8,), (1,), (3,), (1,), 1),)
FIVE = tuple("abcde")
OTHER_FIVE = tuple("vwxyz")
SIX = tuple("abcdef")


def network(classes: int):
    return build(mobilenet_space("small", MobileNet((8,), (8,), 2, STAGES, (16, 24), 1, classes)))


@pytest.fixture
def published(tmp_path, write_checkpoint):
    """Writes a checkpoint for so many classes."""

    def save(classes, **beside):
        shapes = jax.eval_shape(network(classes).init, jax.random.key(0))
        tensors = {
            published_mobilenet._torch_names(shapes)[place]: np.ones(
                published_mobilenet._torch_shape(place, leaf.shape), np.float32
            )
            for place, leaf in published_mobilenet._in_order(shapes)
        }
        return str(write_checkpoint(tmp_path / "net.pth", tensors, beside))

    return save


@pytest.fixture
def trained(tmp_path, randomised):
    """Writes a run's supernet of five classes."""

    def save(class_names):
        path = tmp_path / "supernet.safetensors"
        path.write_bytes(to_bytes(network(5), randomised(network(5)), class_names))
        return str(path)

    return save


def loaded_classifier(name, class_names) -> bool:
    """Whether the classifier is the file's own.

    Refuses weights that are neither the file's nor those given.
    """
    net = network(len(class_names))
    given = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, 7.0),
        jax.eval_shape(net.init, jax.random.key(0))["classifier"],
    )
    params = pretrained.load(name, net, class_names, given)
    return not np.array_equal(params["classifier"]["bias"], given["bias"])


def test_a_published_classifier_is_kept_where_its_size_is_that_of_the_data(published):
    path = published(5)
    kept = pretrained.look(path, network(5), FIVE)
    assert not kept.fresh and loaded_classifier(path, FIVE)
    assert kept.lines == (
        "weights of Once-for-All; published under this licence: MIT",
        "classifier of the checkpoint kept: 5 classes, their order cannot be checked",
    )
    other = pretrained.look(path, network(6), SIX)
    assert other.fresh and not loaded_classifier(path, SIX)
    assert (
        other.lines[-1] == "fresh classifier: the checkpoint tells apart 5 classes, the data have 6"
    )


def test_a_thousand_classes_are_nothing_special(published):
    path = published(1000)
    names = tuple(f"class {i}" for i in range(1000))
    kept = "classifier of the checkpoint kept: 1000 classes, their order cannot be checked"
    assert pretrained.look(path, network(1000), names).lines[-1] == kept
    assert pretrained.look(path, network(5), FIVE).fresh


def test_the_classifier_of_another_run_is_kept_where_its_names_are_those_of_the_data(trained):
    path = trained(FIVE)
    assert pretrained.look(path, network(5), FIVE) == (
        False,
        (f"classifier of {path} kept: 5 classes, the same ones",),
        OWN,
    )
    assert loaded_classifier(path, FIVE)
    other = pretrained.look(path, network(5), OTHER_FIVE)
    assert other == (
        True,
        (f"fresh classifier: {path} tells apart 5 classes (a, b, c, ...), not the 5 of the data",),
        OWN,
    )
    assert not loaded_classifier(path, OTHER_FIVE) and not loaded_classifier(path, SIX)


def test_names_that_are_numbers_say_nothing(trained):
    numbers = tuple("01234")
    (line,) = pretrained.look(trained(numbers), network(5), numbers).lines
    assert line.endswith(
        "which have numbers for names, so whether they are the same cannot be checked"
    )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        UserError,
        match=(
            r"unknown weights 'tiny_cifar10'; known: residual_cifar10, residual_cifar100, "
            r"tiny_cifar100, the path"
        ),
    ):
        pretrained.look("tiny_cifar10", network(5), FIVE)
