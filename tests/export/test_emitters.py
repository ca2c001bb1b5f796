"""What can be computed can be exported: the dicts have the same keys."""

from jaxnas.export.emitters import ACTIVATION_EMITTERS, EMITTERS
from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.operators import OPERATORS


def test_every_kind_of_operator_has_an_emitter(toy_family):
    assert list(EMITTERS) == list(OPERATORS)
    assert "smooth" in EMITTERS  # a kind of a user's own: a computation, an emitter, two entries


def test_every_activation_has_an_emitter():
    assert {"", *ACTIVATION_EMITTERS} == set(ACTIVATIONS)
