"""RepVGG's deployed form against the trained one."""

import jax
import numpy as np
import pytest

from jaxnas.baselines import repvgg
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet


@pytest.fixture(scope="module")
def subnet(random_subnet):
    return random_subnet(repvgg.operators("a0", 10), 0.6)


@pytest.fixture(scope="module")
def logits(subnet, images):
    return np.asarray(jax.jit(Subnet.__call__)(subnet, images))


def difference(subnet, logits, images):
    return np.abs(jax.jit(Subnet.__call__)(subnet, images) - logits).max() / np.abs(logits).max()


def test_the_deployed_form_computes_the_same(subnet, logits, images):
    deployed = repvgg.reparameterised(subnet)
    assert difference(deployed, logits, images) < 1e-4
    assert np.abs(logits).max() > 1
    kinds = [op.kind for op in deployed.ops]
    assert kinds == ["conv"] * 22 + ["pool", "linear"]
    assert all(
        (op.kernel, op.bias, op.norm, op.act) == (3, True, False, "relu")
        for op in deployed.ops[:22]
    )
    assert (
        sum(op.macs for op in deployed.ops)
        == sum(op.macs for op in subnet.ops if op.kernel == 3) + 1280 * 10
    )


@pytest.mark.parametrize("branch", ["pointwise", "identity"])
def test_a_branch_left_out_is_noticed(subnet, logits, images, monkeypatch, branch):
    merged = repvgg._merged
    monkeypatch.setattr(
        repvgg,
        "_merged",
        lambda weights, block: merged(
            {p: a for p, a in weights.items() if not p.endswith(branch)}, block
        ),
    )
    assert difference(repvgg.reparameterised(subnet), logits, images) > 1e-2


def test_only_once(subnet):
    with pytest.raises(UserError, match="it may be reparameterised already"):
        repvgg.reparameterised(repvgg.reparameterised(subnet))
