import importlib
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import ProfileConfig, make_device
from jaxnas.hardware.cost_model import DOUBTS, CostModel, Modelled, warning
from jaxnas.hardware.dataflow_chip import HAILO_8L, Workload, workload
from jaxnas.hardware.device import Device, ExportedModel
from jaxnas.networks.costs import ADD, AVGPOOL2, CONV, LINEAR, MUL, POOL, Layers
from jaxnas.spaces.published import attentive_nas, cifar_hailo, ofa_mobilenet_v3, tiny
from jaxnas.spaces.squeezenet import squeezenet
from jaxnas.supernets.build import build

ROOT = Path(__file__).parents[2]
TABLES = Path(os.environ.get("HAILO_TABLES", ROOT.parent / "shared" / "data" / "hailo_model_zoo"))


def counted(ops):
    """The workload, operator by operator in Python."""
    work = dict.fromkeys(Workload._fields, 0.0)
    work["pixels"] = ops[0].height * ops[0].width * ops[0].stride ** 2 / 1e6
    for op in ops:
        depthwise = op.kind == "conv" and op.groups == op.c_in and op.groups > 1
        pool = op.kind in ("avgpool2", "maxpool")
        kernel, stride = (2, 2) if op.kind == "avgpool2" else (op.kernel, op.stride)
        work["depthwise" if depthwise else "dense"] += op.macs / 1e6
        work["params"] += op.params / 1e6
        if pool or op.kind in ("add", "mul"):
            work["elementwise"] += op.height * op.width * op.c_out / 1e6
        if pool or op.kind in ("conv", "add", "mul"):
            work["lines"] += kernel * stride * op.width * op.c_in / 1e6
        if pool or (op.kind == "conv" and op.height > 1):
            work["fill"] += kernel / op.height
        if op.kind == "mul":
            work["gates"] += 1
            work["fill"] += 1
    return work


@pytest.mark.parametrize(
    "space",
    [tiny(32, 3, 10), attentive_nas(), ofa_mobilenet_v3(), squeezenet()],
    ids=lambda space: space.name,
)
def test_the_workload_is_that_of_the_operators(space):
    genomes = np.stack(
        [space.smallest, space.largest, *np.asarray(space.sample(jax.random.key(0), 4))]
    )
    # On the host: the table itself takes seconds to compile. tests/spaces compares it traced.
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), *map(space.layers, genomes))
    works = jax.jit(jax.vmap(workload))(tables)
    net = build(space)
    for i, genome in enumerate(genomes):
        expected = counted(net.ops(genome))
        for name, value in works._asdict().items():
            np.testing.assert_allclose(value[i], expected[name], rtol=1e-5, err_msg=name)


def layers(*rows):
    """A table of rows of kind, size, c_in, c_out, kernel, stride, groups."""
    kind, size, c_in, c_out, kernel, stride, groups = (
        jnp.asarray(column, jnp.int32) for column in zip(*rows, strict=True)
    )
    ones = jnp.ones_like(kind)
    weighted = (kind == CONV) | (kind == LINEAR)
    weights = weighted * c_out * (c_in // groups) * kernel**2
    return Layers(
        kind,
        size,
        size,
        c_in,
        c_out,
        kernel,
        stride,
        groups,
        macs=weights * size**2,
        params=weights + weighted * c_out,
        reads=ones,
        live=ones,
        repeat=ones,
    )


RESNET_STEM = [(CONV, 112, 3, 64, 7, 2, 1), (AVGPOOL2, 56, 64, 64, 3, 2, 1)]


def resnet(width=1, gate=False):
    """ResNet-18 without its shortcuts' convolutions, `width` times as wide."""
    rows = list(RESNET_STEM)
    c_in = 64
    for i, size in enumerate((56, 28, 14, 7)):
        c_out = 64 * 2**i * width
        for block in range(2):
            rows += [
                (CONV, size, c_in, c_out, 3, 1 if block or not i else 2, 1),
                (CONV, size, c_out, c_out, 3, 1, 1),
                (ADD, size, c_out, c_out, 1, 1, 1),
            ]
            c_in = c_out
    if gate:
        rows += [(MUL, 7, c_in, c_in, 1, 1, 1)]
    return layers(*rows, (POOL, 1, c_in, c_in, 1, 1, 1), (LINEAR, 1, c_in, 1000, 1, 1, 1))


def test_a_network_that_fits_takes_its_work_and_fills_the_pipeline():
    estimate = HAILO_8L(resnet())
    work = workload(resnet())
    np.testing.assert_allclose(work.fill, 3.33, rtol=1e-3)  # of ResNet-18, as the reference has it
    assert not estimate.figures["several"] and not estimate.doubts["extrapolated"]
    assert 0.6 < estimate.figures["period_ms"] < 0.85  # published: 0.781
    np.testing.assert_allclose(
        estimate.latency_ms, estimate.figures["period_ms"] * (1 + 0.505 * 3.33), rtol=1e-3
    )


def test_a_network_that_does_not_fit_is_loaded_for_every_image():
    estimate = HAILO_8L(resnet(width=2))
    assert estimate.figures["several"] and estimate.figures["occupancy"] > 1
    assert estimate.figures["period_ms"] > 5 and estimate.latency_ms < estimate.figures["period_ms"]


def test_gates_do_not_fit_and_are_doubted():
    estimate = HAILO_8L(resnet(gate=True))
    assert (
        estimate.figures["several"]
        and estimate.doubts["uncertain"]
        and estimate.doubts["extrapolated"]
    )


def test_a_product_of_two_maps_is_no_gate():
    gated = resnet(gate=True)
    position = int(np.flatnonzero(gated.kind == MUL)[0])
    pixels = gated.height[position] * gated.width[position] * gated.c_out[position]
    product = gated._replace(reads=gated.reads.at[position].set(2 * pixels))
    assert workload(gated).gates == 1 and workload(product).gates == 0
    assert not HAILO_8L(product).figures["several"]
    assert workload(product).elementwise == workload(gated).elementwise


def test_small_images_are_extrapolated_and_no_network_is_faster_than_the_fastest_published():
    space = tiny(32, 3, 10)
    estimate = HAILO_8L(space.layers(space.smallest))
    assert estimate.doubts["extrapolated"]
    assert (
        estimate.figures["period_ms"] == np.float32(HAILO_8L.shortest_ms)
        or estimate.figures["several"]
    )


def test_a_latency_comes_with_the_model_s_doubts():
    known, gated = (
        Modelled(HAILO_8L).measure(ExportedModel(b"", np.zeros(0, np.int32), layers=table))
        for table in (resnet(), resnet(gate=True))
    )
    assert known.warning == DOUBTS["uncertain"]  # it takes two thirds of the chip
    assert warning(HAILO_8L(resnet())._replace(doubts={"uncertain": jnp.array(False)})) == ""
    assert gated.warning == f"{DOUBTS['extrapolated']}; {DOUBTS['uncertain']}"


def test_networks_in_several_pieces_have_no_latency_where_one_is_asked_for():
    device = make_device(ProfileConfig(device="hailo8l_model:single"))
    assert (
        isinstance(device, Modelled)
        and device.name == "hailo8l_model:single"
        and device.cost_model.error == HAILO_8L.error
    )
    whole, several = (
        ExportedModel(b"", np.zeros(1, np.int32), layers=resnet(width=width)) for width in (1, 2)
    )
    assert device.measure(whole).latency_ms == float(HAILO_8L(resnet()).latency_ms)
    assert device.measure(several).failure == "ValueError: the network does not fit as a whole"
    assert np.isnan(device.cost_model(resnet(width=2)).latency_ms)


@pytest.mark.slow
def test_the_space_for_it_lies_within_what_it_was_fitted_to():
    space = cifar_hailo()
    layers = jax.vmap(space.layers)(space.sample(jax.random.key(0), 200))
    work = workload(layers)
    assert not HAILO_8L(layers).figures["several"].any()
    for name, least, most in HAILO_8L.fitted:
        if name != "params":
            assert least <= getattr(work, name).min() and getattr(work, name).max() <= most


def test_it_is_a_cost_model_and_says_how_far_it_is_off():
    assert isinstance(HAILO_8L, CostModel)
    assert "simulated" in HAILO_8L.error and "error" in HAILO_8L.error


def test_in_the_place_of_a_measured_device_it_says_what_it_is():
    device = Modelled(HAILO_8L)
    assert isinstance(device, Device)
    measurement = device.measure(ExportedModel(b"", np.zeros(1, np.int32), layers=resnet()))
    assert (
        measurement.latency_ms == float(HAILO_8L(resnet()).latency_ms)
        and measurement.runtime == HAILO_8L.error
    )
    with pytest.raises(ValueError, match="cost table"):
        device.measure(ExportedModel(b"", np.zeros(1, np.int32)))


@pytest.mark.slow
def test_a_million_genomes_are_one_call():
    space = attentive_nas()
    genomes = space.sample(jax.random.key(0), 1_000_000)
    ask = jax.jit(
        lambda genomes: jax.lax.map(
            lambda genome: HAILO_8L(space.layers(genome)).latency_ms, genomes, batch_size=8192
        )
    )
    latency_ms = ask(genomes)
    assert latency_ms.shape == (1_000_000,) and bool((latency_ms > 0).all())
    np.testing.assert_allclose(
        latency_ms[-1], HAILO_8L(space.layers(genomes[-1])).latency_ms, rtol=1e-5
    )


@pytest.fixture(scope="module")
def experiment():
    if not (TABLES / "layer_tables.csv").is_file():
        pytest.skip(
            "needs layer_tables.csv and all_tasks.csv, in the folder that HAILO_TABLES names"
        )
    sys.path.insert(0, str(ROOT / "experiments"))
    try:
        module = importlib.import_module("hailo8l_model")
    finally:
        sys.path.remove(str(ROOT / "experiments"))
    return module, module.read_works(TABLES), module.read_runs(TABLES)


@pytest.mark.slow
def test_the_coefficients_are_those_that_the_published_figures_give(experiment):
    module, works, runs = experiment
    chip = module.fit(works, runs)
    for name in (*module.COEFFICIENTS, *module.CAPACITY):
        np.testing.assert_allclose(
            getattr(HAILO_8L, name), getattr(chip, name), rtol=2e-3, err_msg=name
        )
    for (name, least, most), (_, fitted_least, fitted_most) in zip(
        HAILO_8L.fitted, module.fitted_range(works), strict=True
    ):
        assert least <= 1.0001 * fitted_least and fitted_most <= most <= 1.01 * fitted_most, name


@pytest.mark.slow
@pytest.mark.slow
def test_networks_it_has_not_seen(experiment, capsys):
    module, works, runs = experiment
    assert module.report(*module.left_out(works, runs)) == 0
    assert "right 27 of 28" in capsys.readouterr().out
