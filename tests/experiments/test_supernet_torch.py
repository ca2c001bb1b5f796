"""The PyTorch peer computes what jaxnas computes; else the bench would compare different work."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnas.networks.subnet import forward
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take

RATE = 0.05
DECAY = 0.01
SMOOTHING = 0.1

forward_jit = jax.jit(forward, static_argnums=0)


@pytest.fixture(scope="module")
def net(small_mobilenet):
    return build(small_mobilenet((10,), 3, 10))  # stride 2 meets an odd size


@pytest.fixture(scope="module")
def params(net, randomised):
    return randomised(net)


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return np.float32(draw.normal(size=(24, 1, 1, 3)) + 0.5 * draw.normal(size=(24, 10, 10, 3)))


@pytest.fixture(scope="module")
def subnets(net):
    """The largest, a random one, the smallest."""
    middle = np.asarray(net.space.sample(jax.random.key(3), 1)[0])
    return [net.ops(genome) for genome in (net.space.largest, middle, net.space.smallest)]


@pytest.fixture(params=["NCHW", "channels-last"])
def setting(request, peer):
    return peer.Setting(request.param, batch=8, threads=1)


def error(peer, setting, params, ops, images):
    """Largest difference of the logits, with calibrated statistics, over their deviation."""
    weights = take(params, ops)
    calibration = images[:16]
    stats = forward_jit(ops, weights, calibration)[1]
    expected = np.asarray(forward_jit(ops, weights, images[16:], stats)[0])
    with peer.torch.inference_mode(), peer.running(setting):
        copies = peer.extract(peer.shared_weights(params, setting), ops, setting)
        stats = peer.recalibrated(ops, copies, peer.image_tensor(calibration, setting), batch=16)
        logits = peer.forward(ops, copies, peer.image_tensor(images[16:], setting), stats).numpy()
    return np.abs(logits - expected).max() / expected.std(), logits


def test_logits_are_those_of_jaxnas(peer, setting, params, subnets, images):
    errors, logits = zip(
        *(error(peer, setting, params, ops, images) for ops in subnets), strict=True
    )
    assert max(errors) < 1e-4
    assert np.abs(logits[0] - logits[1]).max() > 0.5 and np.abs(logits[1] - logits[2]).max() > 0.5


@pytest.mark.parametrize(
    "bug", ["corner instead of centre", "pool without padding counted", "unbiased variance"]
)
def test_a_planted_bug_is_seen(peer, params, subnets, images, monkeypatch, bug):
    share = peer._share
    pool = peer._OPERATORS["avgpool2"]
    calibrate = peer.recalibrated

    def corner(name, tensor, op):
        return (
            tensor[: op.c_out, : op.c_in // op.groups, : op.kernel, : op.kernel]
            if name == "kernel" and tensor.ndim == 4
            else share(name, tensor, op)
        )

    def uncounted(op, arrays, x):
        return peer.F.avg_pool2d(x, 2, 2, padding=x.shape[-1] % 2, count_include_pad=False)

    def unbiased(ops, weights, images, batch):
        stats = calibrate(ops, weights, images, batch)
        return {path: (mean, var * 16 / 15) for path, (mean, var) in stats.items()}

    if bug == "corner instead of centre":
        monkeypatch.setattr(peer, "_share", corner)
    elif bug == "unbiased variance":
        monkeypatch.setattr(peer, "recalibrated", unbiased)
    else:
        monkeypatch.setitem(peer._OPERATORS, "avgpool2", uncounted)
    assert error(peer, peer.Setting(threads=1), params, subnets[2], images)[0] > 1e-3
    monkeypatch.undo()
    assert peer._OPERATORS["avgpool2"] is pool


def test_statistics_of_batches_are_their_average(peer, setting, params, subnets, images):
    ops = subnets[1]
    with peer.torch.inference_mode():
        weights = peer.extract(peer.shared_weights(params, setting), ops, setting)
        whole, *parts = (
            peer.recalibrated(ops, weights, peer.image_tensor(some, setting), 8)
            for some in (images, *np.split(images, 3))
        )
    for path, found in whole.items():
        for got, *each in zip(found, *(part[path] for part in parts), strict=True):
            np.testing.assert_allclose(got, np.mean(each, 0), rtol=1e-4, atol=1e-5)


def test_channels_last_stays_channels_last(peer, params, subnets, images, monkeypatch):
    setting = peer.Setting("channels-last", threads=1)
    seen = []
    norm = peer.F.batch_norm

    def spy(x, *rest):
        seen.append(x.is_contiguous(memory_format=peer.torch.channels_last))
        return norm(x, *rest)

    monkeypatch.setattr(peer.F, "batch_norm", spy)
    peer.forward(
        subnets[0], peer.shared_weights(params, setting), peer.image_tensor(images, setting)
    )
    assert len(seen) == sum(op.norm for op in subnets[0]) and all(seen)


def sandwich_loss(params, subnets, images, labels):
    """The sandwich rule, written down once more."""
    logits = [forward(ops, take(params, ops), jnp.asarray(images))[0] for ops in subnets]
    hard = optax.smooth_labels(jax.nn.one_hot(labels, logits[0].shape[-1]), SMOOTHING)
    soft = jax.nn.softmax(jax.lax.stop_gradient(logits[0]))
    return sum(
        optax.softmax_cross_entropy(x, hard if i == 0 else soft).mean()
        for i, x in enumerate(logits)
    )


def test_training_moves_the_weights_as_optax_does(peer, setting, params, subnets, images):
    labels = np.arange(len(images)) % 10
    kernels = jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)
    tx = optax.chain(
        optax.clip(1.0),
        optax.add_decayed_weights(DECAY, kernels),
        optax.sgd(RATE, 0.9, nesterov=True),
    )
    trainer = peer.Trainer(peer.shared_weights(params, setting), setting, RATE, DECAY, SMOOTHING)
    gradient = jax.jit(
        jax.value_and_grad(lambda params: sandwich_loss(params, subnets, images, labels))
    )
    state = tx.init(params)
    moved = params
    for _ in range(2):  # momentum counts in the second
        loss, gradients = gradient(moved)
        updates, state = tx.update(gradients, state, moved)
        moved = optax.apply_updates(moved, updates)
        losses = trainer.step(
            subnets, peer.image_tensor(images, setting), peer.label_tensor(labels)
        )
        assert sum(losses) == pytest.approx(float(loss), rel=1e-4)
    expected = peer.shared_weights(moved, setting)
    before = peer.shared_weights(params, setting)
    for path, arrays in trainer.weights.items():
        for name, tensor in arrays.items():
            change = float((expected[path][name] - before[path][name]).abs().max())
            assert (
                float((tensor - expected[path][name]).detach().abs().max()) < 1e-3 * change + 1e-6
            ), (path, name)


def test_kernel_transforms_are_refused(peer, params, subnets):
    setting = peer.Setting(threads=1)
    odd = {"first_conv": {**params["first_conv"], "transform3": jnp.eye(9)}}
    with pytest.raises(ValueError, match="transform3"):
        peer.take(peer.shared_weights(odd, setting), subnets[0][:1])
