"""One path of a soft genome behind switches: value and gradients of the masked supernet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.relaxations.relaxation import of_the_chosen
from jaxnas.supernets.build import build
from jaxnas.supernets.switched_training import mixes_results


@pytest.fixture(scope="module")
def net(edges_space):
    return build(edges_space(8, 1, 10))


def test_only_spaces_of_operations_mix_results(net, small_mobilenet):
    assert mixes_results(net.space)
    assert not mixes_results(small_mobilenet((8,), 1, 10))


def test_one_path_has_the_logits_and_gradients_of_the_mixture(net, randomised):
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))

    def by_masks(params, soft):
        return jnp.sum(net.apply(params, images, of_the_chosen(soft))[0] ** 2)

    def by_switches(params, soft):
        return jnp.sum(net.switched_training(params, soft, images) ** 2)

    programs = [jax.jit(jax.value_and_grad(loss, (0, 1))) for loss in (by_masks, by_switches)]
    losses = []
    for genome in ([3, 2, 1, 3], [1, 3, 3, 0]):
        soft = jax.nn.one_hot(jnp.array(genome), 4)
        (value, slopes), (other, others) = (program(params, soft) for program in programs)
        np.testing.assert_allclose(value, other, rtol=1e-5)
        largest = max(float(abs(slope).max()) for slope in jax.tree.leaves(slopes))

        def compare(a, b, largest=largest):
            """What stands before another norm has slopes that cancel to rounding."""
            atol = max(1e-4 * abs(a).max(), 1e-6 * largest)
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=atol)

        jax.tree.map(compare, slopes, others)
        assert (
            np.asarray(others[1] != 0) == np.asarray(soft * (np.array(genome) > 0)[:, None])
        ).all()
        losses.append(float(value))
    assert abs(losses[0] / losses[1] - 1) > 0.1
