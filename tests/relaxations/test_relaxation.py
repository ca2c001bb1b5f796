"""Every relaxation: rows of weights over choices, with a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import RELAXATIONS, make_relaxation
from jaxnas.errors import UserError
from jaxnas.relaxations.binary_paths import BinaryPaths
from jaxnas.relaxations.gumbel import Gumbel
from jaxnas.relaxations.relaxation import Relaxation
from jaxnas.relaxations.sampled import Sampled
from jaxnas.relaxations.softmax import Softmax
from jaxnas.relaxations.straight_through import StraightThrough

# Five choices, three, and one.
LOGITS = jnp.array(
    [
        [0.0, 1.0, -1.0, 0.5, 0.2],
        [0.3, 0.1, 0.9, -jnp.inf, -jnp.inf],
        [0.4] + 4 * [-jnp.inf],
    ]
)
CHOICES = np.isfinite(LOGITS)
HALF = jnp.float32(0.5)
MANY = 4000


@pytest.fixture(params=RELAXATIONS)
def relaxation(request):
    return RELAXATIONS[request.param]()


def test_rows_are_weights_that_add_up_to_1_and_are_0_behind_the_last_choice(relaxation):
    assert isinstance(relaxation, Relaxation)
    keys = jax.random.split(jax.random.key(0), 50)
    soft = np.asarray(jax.vmap(lambda key: relaxation.ask(key, LOGITS, HALF))(keys))
    assert not soft[:, ~CHOICES].any() and (soft >= 0).all()
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
    one_hot = np.isin(soft, (0, 1)).all()
    assert one_hot == relaxation.hard
    # Every choice is taken, or its weight varies or is that of the softmax.
    assert (soft.max(0)[CHOICES] > 0).all()


def test_hard_ones_take_choices_by_their_probability(relaxation):
    if not relaxation.hard:
        return
    keys = jax.random.split(jax.random.key(1), MANY)
    taken = jax.vmap(lambda key: relaxation.ask(key, LOGITS, HALF))(keys).mean(0)
    shares = np.asarray(jax.nn.softmax(LOGITS))
    if isinstance(relaxation, BinaryPaths):
        shares = of_two_drawn(shares)
    np.testing.assert_allclose(taken, shares, atol=4 * np.sqrt(0.25 / MANY))


def of_two_drawn(shares):
    """A choice's probability to be active: two are drawn without replacement, one by its share."""
    found = np.zeros_like(shares)
    for row, own in zip(found, shares, strict=True):
        for i, j in np.argwhere(np.triu(np.outer(own, own), 1) > 0):
            pair = own[i] * own[j] * (1 / (1 - own[i]) + 1 / (1 - own[j]))
            row[[i, j]] += pair * own[[i, j]] / (own[i] + own[j])
        row[own == 1] = 1
    return found


def test_the_gradient_reaches_the_logits_and_sums_to_0(relaxation):
    """A softmax's rows add up to 1, so that a gradient in its logits has the sum 0."""
    weights = jax.random.normal(jax.random.key(2), LOGITS.shape)
    keys = jax.random.split(jax.random.key(3), 50)

    def loss(logits, key):
        padded = jnp.where(CHOICES, logits, -jnp.inf)
        return jnp.sum(weights * relaxation.ask(key, padded, HALF))

    finite = jnp.where(CHOICES, LOGITS, 0)
    gradients = np.asarray(jax.vmap(lambda key: jax.grad(loss)(finite, key))(keys))
    assert np.isfinite(gradients).all() and not gradients[:, ~CHOICES].any()
    np.testing.assert_allclose(gradients.sum(-1), 0, atol=1e-4)
    assert (np.abs(gradients[:, :2]).max(0)[CHOICES[:2]] > 0).all()


def gradient_of(relaxation, seed, weights):
    def loss(logits):
        return jnp.sum(weights * relaxation.ask(jax.random.key(seed), logits, HALF))

    return np.asarray(jax.grad(loss)(LOGITS[:1]))


def test_the_sampled_path_alone_gives_the_gradient():
    taken = np.asarray(Sampled().ask(jax.random.key(4), LOGITS[:1], HALF)) > 0
    weights = jax.random.normal(jax.random.key(5), (1, 5))
    others = jnp.where(taken, weights, 7.0)
    np.testing.assert_array_equal(
        gradient_of(Sampled(), 4, weights), gradient_of(Sampled(), 4, others)
    )
    through = StraightThrough()
    assert not np.allclose(gradient_of(through, 4, weights), gradient_of(through, 4, others))


def test_two_paths_have_the_gradient_of_their_two_gates():
    weights = jax.random.normal(jax.random.key(6), (1, 5))
    found = gradient_of(BinaryPaths(), 7, weights)[0]
    i, j = np.flatnonzero(found)
    logits = np.asarray(LOGITS[0])
    p = np.exp(logits[i]) / (np.exp(logits[i]) + np.exp(logits[j]))
    expected = p * (1 - p) * (weights[0, i] - weights[0, j])
    np.testing.assert_allclose(found[[i, j]], [expected, -expected], rtol=1e-4)


def test_what_two_paths_learn_leaves_the_other_probabilities_as_they_are():
    moved = LOGITS.at[0, 1].add(0.3).at[0, 3].add(-0.2)
    kept = BinaryPaths().tell(LOGITS, moved)
    before, after = (np.asarray(jax.nn.softmax(logits)) for logits in (LOGITS, kept))
    np.testing.assert_allclose(after[0, [0, 2, 4]], before[0, [0, 2, 4]], rtol=1e-5)
    np.testing.assert_allclose(after[0, 1] / after[0, 3], np.exp(1.0), rtol=1e-5)
    np.testing.assert_array_equal(kept[1:], LOGITS[1:])


def test_gumbel_softmax_comes_close_to_one_choice():
    spread = [
        float(Gumbel().ask(jax.random.key(8), LOGITS[:1], jnp.float32(progress)).max())
        for progress in (0, 0.5, 1)
    ]
    assert spread == sorted(spread) and spread[0] < 0.5 and spread[-1] > 0.9


def test_softmax_is_the_probability_of_each_choice():
    soft = Softmax().ask(jax.random.key(0), LOGITS, HALF)
    np.testing.assert_allclose(soft, jax.nn.softmax(LOGITS), rtol=1e-6)


def test_a_temperature_that_float32_takes_for_0_is_refused():
    with pytest.raises(UserError, match="last of a relaxation must be at least 1e-06, got 1e-40"):
        make_relaxation("gumbel:last=1e-40")
