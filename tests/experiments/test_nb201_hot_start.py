"""What a search that begins with another's front is measured by."""

import jax.numpy as jnp
import moocore
import numpy as np


def test_the_hypervolume_is_that_of_everything_evaluated_so_far(experiment):
    points = np.random.default_rng(0).uniform(0, 1.2, (9, 2))
    found = experiment("nb201_hot_start").volumes(jnp.asarray(points, jnp.float32))
    expected = [moocore.hypervolume(points[: i + 1], ref=[1.0, 1.0]) for i in range(9)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
