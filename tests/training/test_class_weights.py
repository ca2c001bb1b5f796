"""How much classes count: the weights, and that every loss of a training has them."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from jaxnas.config import METHODS, make_method
from jaxnas.data.augment import Augmentation
from jaxnas.data.mixing import Mixed
from jaxnas.errors import UserError
from jaxnas.training import losses
from jaxnas.training.class_weights import check_class_weights, class_weights
from jaxnas.training.evaluate import Examples
from jaxnas.training.finetune import FinetuneConfig, finetune_steps
from jaxnas.training.loop import init_state, make_step
from jaxnas.training.method import HeldOut, TrainConfig
from jaxnas.training.population import HybridConfig, tuned
from jaxnas.training.views import Images, on_device

LABELS = np.array([0] * 6 + [1] * 3 + [2])
MEAN = jnp.zeros(1)
ROWS = jnp.arange(8, dtype=jnp.int32)


def test_balanced_as_scikit_learn_has_it_and_absent_classes_do_no_harm():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    found = class_weights("balanced", LABELS, 3)
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    more = class_weights("balanced", LABELS, 4)
    assert more is not None and np.isfinite(more).all()
    np.testing.assert_allclose(more[:3], expected, rtol=1e-6)


def test_numbers_are_scaled_to_a_mean_of_1_over_the_images():
    found = class_weights("1,0,3.5", LABELS, 3)
    assert found is not None
    np.testing.assert_allclose(found, np.array([1, 0, 3.5]) / 0.95, rtol=1e-6)
    assert class_weights("2,2,2", LABELS, 3) == pytest.approx(1)
    assert class_weights(None, LABELS, 3) is None


@pytest.mark.parametrize("text", ["", "even", "1;2;3", "1,2,-3", "1,2,nan", "1,inf,2", "0,0,0"])
def test_what_is_no_weight_is_refused(text):
    with pytest.raises(UserError, match="must be balanced or numbers from 0, got"):
        check_class_weights(text)


def test_weights_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(UserError, match="a number for each of 3 classes, got 2: write 3"):
        class_weights("1,2", LABELS, 3)
    with pytest.raises(UserError, match="are 0 for all classes that have training images"):
        class_weights("0,0,0,1", LABELS, 4)


def test_a_loss_is_the_mean_of_weighted_losses_of_images():
    given = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
    logits, teacher, labels = map(jnp.asarray, (*given, LABELS))
    weights = class_weights("balanced", LABELS, 3)
    assert weights is not None
    each = weights[LABELS]
    for loss in (
        lambda rows, *w: losses.hard_loss(logits[rows], labels[rows], 0.1, *w),
        lambda rows, *w: losses.distillation_loss(logits[rows], teacher[rows], *w),
        lambda rows, *w: losses.alpha_loss(logits[rows], teacher[rows], *w),
    ):
        single = np.array([loss(slice(i, i + 1)) for i in range(10)])
        assert loss(slice(None), jnp.asarray(each)) == pytest.approx((single * each).mean())
        assert loss(slice(None), jnp.ones(10)) == loss(slice(None))


@pytest.mark.parametrize("weights", [None, "1,3,0.5"])
def test_a_mixture_has_the_losses_of_both_its_labels_by_share_and_class(weights):
    random = np.random.default_rng(1)
    logits, teacher = jnp.asarray(random.normal(size=(2, 10, 3)).astype(np.float32))
    first, second = jnp.asarray(LABELS), jnp.asarray(LABELS[::-1].copy())
    share = jnp.asarray(random.uniform(size=10).astype(np.float32))
    of_classes = class_weights(weights, LABELS, 3)
    known = None if of_classes is None else jnp.asarray(of_classes)
    images = Images(jnp.zeros((10, 1, 1, 1), jnp.uint8), first, MEAN, MEAN, known)
    labels, each = images.weighted(Mixed(first, second, share))
    found = losses.hard_loss(logits, labels, 0.1, each)
    parts = [
        share * _alone(logits, first, images.weights(first)),
        (1 - share) * _alone(logits, second, images.weights(second)),
    ]
    np.testing.assert_allclose(found, np.mean(parts[0] + parts[1]), rtol=1e-5)
    # What a teacher says of a mixture counts as much as the mixture does.
    ones = jnp.ones(10) if known is None else share * known[first] + (1 - share) * known[second]
    distilled = losses.distillation_loss(logits, teacher, each)
    np.testing.assert_allclose(
        distilled, losses.distillation_loss(logits, teacher, ones), rtol=1e-5
    )
    alone, weight = images.weighted(first)
    assert alone is first and (weight is None) == (weights is None)


def _alone(logits, labels, weights):
    """The loss of each image."""
    rows = [slice(i, i + 1) for i in range(len(labels))]
    return np.array(
        [
            losses.hard_loss(
                logits[row], labels[row], 0.1, None if weights is None else weights[row]
            )
            for row in rows
        ]
    )


@pytest.fixture
def seen(monkeypatch):
    """The weights that losses are given while a program is traced."""
    given = []

    def mean(values, weights):
        given.append(weights)
        return jnp.mean(values)

    monkeypatch.setattr(losses, "_mean", mean)
    yield given
    assert given and all(one is not None and one.shape == (8,) for one in given)


@pytest.mark.parametrize("name", METHODS)
def test_every_loss_of_every_method_is_weighted(net, digits, name, seen):
    """Traced, not compiled."""
    settings = TrainConfig(name, 1, 8, random_subnets=1, candidates=2, class_weights="balanced")
    method = make_method(settings)
    step = make_step(net, method, settings, Augmentation(transforms=("cutmix",)), 40)
    state = init_state(net, method, settings, 40, jax.random.key(0))
    rows = (ROWS, ROWS) if isinstance(method, HeldOut) else (ROWS,)
    images = on_device(digits, settings.class_weights)
    jax.eval_shape(partial(step, resolution=8), state, jax.random.key(1), images, *rows)


def test_so_are_those_of_one_network_and_of_a_population(net, digits, seen, monkeypatch):
    images = on_device(digits, "balanced")
    params = net.init(jax.random.key(0))
    subnet = net.extract(params, np.zeros(len(net.space.genes), np.int32), {})
    settings = FinetuneConfig(1, 8)
    jax.eval_shape(
        lambda images: next(
            finetune_steps(subnet, images, 8, settings, Augmentation(), jax.random.key(0))
        )[2],
        images,
    )
    of_one = len(seen)
    examples = Examples(jnp.zeros((8, 8, 8, 1)), jnp.zeros(8, jnp.int32), jnp.zeros((8, 8, 8, 1)))
    hybrid = HybridConfig(1, 1, batch_size=8)
    genome = jnp.zeros(len(net.space.genes), jnp.int32)
    augmentation = replace(Augmentation(), resizing="antialiased")
    jax.eval_shape(
        lambda images: tuned(
            net, params, genome, images, examples, hybrid, augmentation, jax.random.key(0)
        ),
        images,
    )
    assert of_one >= 1 and len(seen) >= of_one + 2
