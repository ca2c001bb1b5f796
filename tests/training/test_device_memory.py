"""What goes through a device side by side.

Bounded by its memory, by what is asked for, and never less than one.
"""

from types import SimpleNamespace

import jax
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.costs import cost_table, peak_activations
from jaxnas.spaces.published import attentive_nas
from jaxnas.supernets.build import build
from jaxnas.training import device_memory
from jaxnas.training.device_memory import batch, crowd, image_bytes, largest_ops, training_bytes

GIB = 1 << 30


@pytest.fixture
def device(monkeypatch):
    """Makes the device one with so many GiB, not a CPU."""

    def with_memory(gib):
        stats = {"bytes_limit": int(gib * GIB), "bytes_in_use": 0}
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(
            jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: stats)]
        )

    return with_memory


def test_an_image_takes_what_the_cost_table_says_twice():
    """Before and behind norm and activation.

    The largest network, which every masked one takes as much as.
    """
    net = build(attentive_nas())
    for resolution in net.space.resolutions:
        ops = largest_ops(net, resolution)
        expected = 2 * 4 * int(peak_activations(cost_table(ops, resolution, resolution)))
        assert image_bytes(ops, resolution) == expected
        assert training_bytes(ops) > 5 * expected
    assert image_bytes(largest_ops(net, 288), 288) > 2 * image_bytes(largest_ops(net, 192), 192)


@pytest.mark.parametrize(("gib", "networks"), [(2000, 16), (139, 9), (24, 1)])
def test_large_images_go_with_fewer_networks_side_by_side(device, gib, networks):
    """Of 256 images of 30 MiB each, in half of the memory."""
    device(gib)
    each = 30 << 20
    assert crowd(256 * each) == networks
    assert batch(each, networks) == 256
    assert networks * 256 * each <= gib * GIB / 2 or networks == 1


def test_a_setting_bounds_networks_and_images(device):
    device(100)
    assert crowd(GIB, memory_gib=3) == 3
    assert batch(GIB // 8, 1, memory_gib=3) == 24
    assert batch(GIB, 16, memory_gib=3) == 1


def test_a_network_that_does_not_fit_alone_is_refused_with_figures(device):
    device(8)
    assert crowd(int(7.5 * GIB)) == 1
    with pytest.raises(
        UserError, match=r"activations take 9 GiB, the device has 8: lower data.calibration_images"
    ):
        crowd(9 * GIB)


def test_networks_take_turns_on_a_cpu():
    assert crowd(1000 * GIB) == 1
    assert batch(1) == device_memory.MICRO_BATCH
    assert batch(GIB) == 4 == device_memory.UNKNOWN_GIB
