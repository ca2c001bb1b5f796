"""The contracts of a device and of a cost model, over `config.DEVICES` and `config.CHIP_KINDS`."""

from contextlib import suppress
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from onnx import TensorProto, helper

from jaxnas.config import CHIP_KINDS, DEVICES, ProfileConfig, load_chip, make_device
from jaxnas.errors import UserError
from jaxnas.hardware.analog_chip import AnalogChip
from jaxnas.hardware.cost_model import (
    CostModel,
    LayeredModel,
    cost_model,
    figure_names,
    layered_model,
    model_with,
)
from jaxnas.hardware.device import Device, ExportedModel, check_reachable
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.networks.costs import KINDS, cost_table
from jaxnas.networks.op import Op

FILES = {  # a chip of each kind with nothing but what it must have
    "memory": """
        error = "a guess"
        clock_mhz = 400
        macs_per_cycle = 256
        memory_bytes = 131072
        activation_cycles = 0.25
        spilled_cycles = 1.0
        weight_cycles = 0.125
        power_mw = 150.5
    """,
    "dataflow": """
        kind = "dataflow"
        error = "a guess"
        macs_per_ms = 6500
        clock_mhz = 400
        pixel_cycles = 2
        dense = 2
        depthwise = 150
        elementwise = 900
        load_params_ms = 0.2
        load_lines_ms = 3
        parts_slower = 1
        params_capacity = 20
        lines_capacity = 1.5
    """,
    "microcontroller": """
        kind = "microcontroller"
        error = "a guess"
        clock_mhz = 100
        ram_bytes = 4000000
        flash_bytes = 1000000
        dense = 2
    """,
    "analog": """
        kind = "analog"
        error = "a guess"
        product_ns = 130
        pj_per_cell = 0.2
    """,
}


def network(channels, size=8):
    """The costs of a stem, a depthwise convolution, a shortcut, the pool and a classifier."""
    ops = (
        Op("conv", "a", (-1,), size, size, 3, channels, kernel=3, norm=True),
        Op("conv", "b", (0,), size, size, channels, channels, kernel=3, groups=channels),
        Op("add", "", (1, 0), size, size, channels, channels),
        Op("pool", "", (2,), 1, 1, channels, channels),
        Op("linear", "c", (3,), 1, 1, channels, 10, bias=True),
    )
    return cost_table(ops, size, size)


LAYERS = network(4)


def pooling():
    """The smallest ONNX file: an image's mean."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 8, 8))
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, (1, 3, 1, 1))
    node = helper.make_node("GlobalAveragePool", ["image"], ["mean"])
    graph = helper.make_graph([node], "mean", [image], [mean])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


def made(name):
    """The device of this name; what cannot run here is skipped, for its own reason."""
    try:
        device = make_device(ProfileConfig(device=name, seconds=0.01))
        check_reachable(device)
    except UserError as error:
        pytest.skip(str(error))
    return device


WORST = "worst:raptor_small,hailo8l_model"  # `worst` alone is none


@pytest.mark.parametrize("name", [WORST if name == "worst" else name for name in DEVICES])
def test_a_device_measures_a_network_and_a_network_that_fails_is_a_measurement(name):
    device = made(name)
    assert isinstance(device, Device)
    found = device.measure(ExportedModel(pooling(), np.zeros(1, np.int32), layers=LAYERS))
    assert found.failure == "" and 0 < found.latency_ms < np.inf
    assert found.device == device.name == name and found.runtime and found.repeats > 0
    assert found.simulated == (cost_model(device) is not None)
    if not found.simulated:
        broken = device.measure(ExportedModel(b"no model", np.zeros(1, np.int32)))
        assert broken.failure and np.isnan(broken.latency_ms)


def simulated():
    """The names of devices that have a cost model."""
    for name in DEVICES:
        with suppress(UserError):
            if cost_model(make_device(ProfileConfig(device=name))) is not None:
                yield name


@pytest.fixture(params=[*simulated(), WORST, *(f"{kind}.toml" for kind in CHIP_KINDS)])
def model(request, tmp_path) -> CostModel:
    """Every cost model that has a name, and one of each kind that a file may describe."""
    name = request.param
    if not name.endswith(".toml"):
        return model_with(make_device(ProfileConfig(device=name)), "latency_ms")
    (tmp_path / name).write_text(FILES[name.removesuffix(".toml")])
    return load_chip(str(tmp_path / name))


def test_a_cost_model_has_figures_of_the_smallest_network_and_states_its_error(model):
    assert model.name and model.error.strip()
    estimate = model(LAYERS)
    assert set(figure_names(model)) == set(estimate.figures)
    for name, value in estimate.figures.items():
        assert value.shape == () and np.isfinite(value) and value >= 0, name
    for name in {"latency_ms", "energy_uj"} & set(estimate.figures):
        assert estimate.figures[name] > 0
    assert all(value.dtype == bool for value in estimate.doubts.values())


def test_a_cost_model_takes_many_networks_at_once(model):
    tables = [network(channels, size=64) for channels in (4, 32, 256)]
    stacked = jax.tree.map(lambda *columns: jnp.stack(columns), *tables)
    for of_all in (jax.jit(jax.vmap(model))(stacked), model(stacked)):
        for i, table in enumerate(tables):
            alone = model(table)
            for name, value in of_all.figures.items():
                np.testing.assert_allclose(value[i], alone.figures[name], rtol=1e-5)
            for name, holds in of_all.doubts.items():
                assert holds[i] == alone.doubts[name]
    # Tiles of analog memory work side by side: more of them take energy, not time.
    dearer = "energy_uj" if isinstance(model, AnalogChip) else "latency_ms"
    assert model(tables[-1]).figures[dearer] > model(tables[0]).figures[dearer]


def test_an_operator_of_an_unknown_kind_counts_as_a_dense_convolution_and_extrapolates(model):
    size = 64
    stem = Op("conv", "a", (-1,), size, size, 3, 32, kernel=3)
    known = cost_table((stem, Op("conv", "b", (0,), size, size, 32, 64, kernel=5)), size, size)
    strange = known._replace(kind=jnp.array([0, len(KINDS) + 5]))
    for name, value in model(strange).figures.items():
        np.testing.assert_allclose(value, model(known).figures[name], rtol=1e-6, err_msg=name)
    assert model(strange).doubts["extrapolated"]
    skipped = strange._replace(repeat=jnp.array([1, 0]))
    assert model(skipped).doubts["extrapolated"] == model(LAYERS).doubts["extrapolated"]


def test_the_account_layer_by_layer_is_that_of_the_whole_network(model):
    if not isinstance(model, LayeredModel):
        pytest.skip(f"{model.name} gives no account layer by layer")
    each = model.layer_by_layer(LAYERS)
    assert all(column.shape == LAYERS.kind.shape for column in each)
    latency_ms = model.latency_ms(each.npu_cycles.sum(), each.system_cycles.sum())
    np.testing.assert_allclose(latency_ms, model(LAYERS).latency_ms, rtol=1e-6)


@pytest.mark.parametrize("name", ["onnxruntime", "hailo8l_model"])
def test_what_a_device_does_not_model_is_refused_by_name(name):
    device = make_device(ProfileConfig(device=name))
    with pytest.raises(UserError, match=f"the device {name} gives no energy_uj: name one that"):
        model_with(device, "energy_uj")
    with pytest.raises(UserError, match=f"the device {name} gives no account layer by layer"):
        layered_model(device)


def test_files_describe_every_kind_of_chip_and_no_other(tmp_path):
    assert set(FILES) == set(CHIP_KINDS)
    path = tmp_path / "mine.toml"
    path.write_text('kind = "optical"')
    with pytest.raises(
        UserError, match="'optical'; known: analog, dataflow, memory, microcontroller"
    ):
        load_chip(str(path))


ELASTIC = [(kind, name) for kind, chip in CHIP_KINDS.items() for name in chip.elastic]  # type: ignore[attr-defined]


def with_setting(kind, name, value):
    """A file's text with another value of a setting."""
    lines = [line.strip() for line in FILES[kind].splitlines()]
    return "\n".join(
        [*(one for one in lines if not one.startswith(f"{name} ")), f"{name} = {value}"]
    )


@pytest.mark.parametrize(("kind", "name"), ELASTIC)
def test_a_chip_with_a_setting_to_choose_is_the_chip_of_each_value(tmp_path, kind, name):
    """Exactly; mapped and compiled, where XLA adds in another order, to the last bit of float32."""
    path = tmp_path / "mine.toml"
    most = 10_000 if name == "clock_mhz" else 100_000_000
    values = (2, 8, 12, 16) if name.endswith("bits") else (3, 70, 1000, most)
    path.write_text(with_setting(kind, name, [*values]))
    model = load_chip(str(path))
    assert isinstance(model, ElasticChip)
    assert [(gene.name, gene.choices, gene.kind) for gene in model.genes] == [
        (name, values, "chip")
    ]
    many = jax.jit(jax.vmap(lambda value: model.chosen({name: value})(LAYERS)))(jnp.array(values))
    for i, value in enumerate(values):
        path.write_text(with_setting(kind, name, value))
        fixed = load_chip(str(path))
        assert model.chosen({name: value}) == fixed
        array = model.chosen({name: jnp.int32(value)})
        figures = map(jax.tree.leaves, (fixed(LAYERS), array(LAYERS), many))
        for one, same, mapped in zip(*figures, strict=True):
            np.testing.assert_array_equal(same, one)
            np.testing.assert_allclose(mapped[i], one, rtol=2e-7)
    assert any(len({*map(float, figure)}) > 1 for figure in many.figures.values())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "memory_bytes = [2000, 1000]",
            "below 2^31 to choose from, smallest first, got [2000, 1000]",
        ),
        (
            "memory_bytes = []",
            "memory_bytes must be a number, or a list of whole numbers below 2^31",
        ),
        ("memory_bytes = [1000, 1000]", "smallest first, got [1000, 1000]"),
        ("memory_bytes = [1000, 2e3]", "smallest first, got [1000, 2000.0]"),
        ("memory_bytes = [0, 1000]", "memory_bytes must be above 0, got 0"),
        ("weight_cycles = [1, 2]", "weight_cycles must be a number, got [1, 2]"),
    ],
)
def test_a_mistake_in_the_choices_of_a_chip_is_one_line(tmp_path, line, message):
    name, _, value = line.partition(" = ")
    path = tmp_path / "mine.toml"
    path.write_text(with_setting("memory", name, value))
    with pytest.raises(UserError, match=str(path)) as error:
        load_chip(str(path))
    assert message in str(error.value)


def test_an_elastic_chip_measures_a_network_on_the_chip_of_its_genome(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(with_setting("memory", "memory_bytes", [100, 131072]))
    device = make_device(ProfileConfig(device=str(path)))
    exported = ExportedModel(b"", np.zeros(1, np.int32), layers=LAYERS)
    slow, fast = (
        device.measure(replace(exported, chip={"memory_bytes": size})).latency_ms
        for size in (100, 131072)
    )
    path.write_text(FILES["memory"])
    assert slow > fast == float(load_chip(str(path))(LAYERS).latency_ms)
    for ask in (device.measure, lambda _: layered_model(device)):
        with pytest.raises(UserError, match="mine has choices of memory_bytes, and here nothing"):
            ask(exported)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clock_mhz = 0", "clock_mhz must be above 0 and finite, got 0.0: check the unit"),
        ("uncertain = [1]", "uncertain must be a list of two numbers, got [1]"),
        ("fitted = [['work', 0, 1]]", "unknown quantity in fitted 'work'; known: dense"),
        ("fitted = [['params', 0]]", "must be a list of lists of a string and two numbers"),
    ],
)
def test_a_mistake_in_the_file_of_a_dataflow_chip_is_one_line(tmp_path, line, message):
    text = "\n".join(one.strip() for one in FILES["dataflow"].splitlines())
    kept = [one for one in text.splitlines() if not one.startswith(line.split()[0])]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(UserError, match=str(path)) as error:
        load_chip(str(path))
    assert message in str(error.value)


def test_a_file_may_say_what_a_dataflow_chip_was_fitted_to(tmp_path):
    for name, least in (("within", 0), ("outside", 1000)):
        (tmp_path / f"{name}.toml").write_text(
            f"{FILES['dataflow']}\nfitted = [['params', {least}, 2000]]"
        )
        doubts = load_chip(str(tmp_path / f"{name}.toml"))(LAYERS).doubts
        assert bool(doubts["extrapolated"]) == (name == "outside")
