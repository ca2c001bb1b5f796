import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.squeezenet import squeezenet
from jaxnas.supernets.build import build
from jaxnas.supernets.heads import check_linear, classify, path_of_head, without_head


def test_a_network_is_its_head_on_what_it_computes_without_one(small_mobilenet):
    space = small_mobilenet((8,), 1, 5)
    net = build(space)
    params = jax.jit(net.init)(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    genome = jax.numpy.asarray(space.largest)
    apply = jax.jit(lambda params: net.apply(params, images, genome)[0])
    features = apply(without_head(params, space))
    assert path_of_head(space) == "classifier" and features.shape == (3, 24)
    found = classify(params["classifier"], features)
    np.testing.assert_allclose(found, apply(params), atol=1e-6)


def test_a_head_that_is_no_linear_layer_is_refused():
    space = squeezenet()
    assert path_of_head(space) == "classifier"
    with pytest.raises(UserError, match=r"networks of squeezenet end in flatten: leave search\.hy"):
        check_linear(space)
