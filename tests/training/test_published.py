"""The published settings, at the published batch and at others."""

import pytest

from jaxnas.config import METHODS
from jaxnas.training.published import alphanet, attentive_nas, ofa


@pytest.mark.parametrize(
    ("batch", "rate"), [(2048, 0.8), (1024, 0.4), (700, 0.2), (256, 0.1), (64, 0.1)]
)
def test_attentive_nas_has_a_tenth_for_every_whole_256_images(batch, rate):
    for settings in (attentive_nas(batch), alphanet(batch)):
        assert settings.learning_rate == pytest.approx(rate) and settings.batch_size == batch


def test_ofa_is_proportional_to_the_batch():
    assert ofa().learning_rate == pytest.approx(2.6) and ofa(64).learning_rate == pytest.approx(
        2.6 / 32
    )
    assert ofa().epochs == 180 + 120 + 2 * (25 + 120)


def test_they_name_methods_that_exist():
    assert (
        {settings().method for settings in (attentive_nas, alphanet, ofa)}
        == {"best_up", "alphanet", "ofa"}
        <= set(METHODS)
    )
