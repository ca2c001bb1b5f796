"""Figures looked up in a table file: by genome, in any order of rows, traced."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.data import archives
from jaxnas.errors import UserError
from jaxnas.hardware import tables
from jaxnas.hardware.tables import Table, load
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.nasbench201 import from_string, nasbench201
from jaxnas.spaces.space import Space

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "nb201_tables.npz"
SPACE = Space("toy", (Gene("a", (8, 16)), Gene("b", (3, 5, 7))))
EVERY = np.array([[a, b] for a in range(2) for b in range(3)], np.int32)
MS = np.array([1.5, 2.25, 3.0, 4.5, 5.0, 6.75])


@pytest.fixture
def write(tmp_path):
    """Writes a table of all six genomes, shuffled; arrays may be changed or, by None, left out."""

    def write(**changes):
        order = np.random.default_rng(0).permutation(6)
        arrays = {
            "arch": EVERY[order].astype(np.int8),
            "latency_ms": MS[order],
            "macs": 100 * order,
            "op_names": np.array(["x", "y"]),
        }
        path = tmp_path / "table.npz"
        np.savez(
            path, **{name: array for name, array in (arrays | changes).items() if array is not None}
        )
        return path

    return write


def test_a_figure_of_each_genome(write):
    table = load(write(), "latency_ms", SPACE, "ms")
    assert (table.name, table.unit) == ("latency_ms", "ms")
    assert table.values.dtype == jnp.float32
    np.testing.assert_array_equal(table(EVERY[::-1]), MS[::-1].astype(np.float32))
    np.testing.assert_array_equal(load(str(write()), "macs", SPACE)(EVERY), 100 * np.arange(6))


def test_any_leading_shape_and_one_genome(write):
    table = load(write(), "latency_ms", SPACE)
    assert float(table(jnp.array([1, 0]))) == 4.5
    np.testing.assert_array_equal(table(EVERY.reshape(2, 3, 2)), MS.reshape(2, 3))
    np.testing.assert_array_equal(jax.vmap(table)(EVERY), MS)


def test_rows_that_are_missing_are_nan(write):
    table = load(write(arch=EVERY[[4, 1]], latency_ms=MS[[4, 1]]), "latency_ms", SPACE)
    np.testing.assert_array_equal(table(EVERY), [np.nan, 2.25, np.nan, np.nan, 5.0, np.nan])


def test_what_is_no_genome_is_nan_and_not_its_neighbour(write):
    table = load(write(), "latency_ms", SPACE)
    found = jax.jit(lambda table, genomes: table(genomes))(
        table, jnp.array([[0, 3], [2, 0], [-1, 0], [0, -1], [1, 2]])
    )
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, np.nan, 6.75])


def test_a_search_on_tables_is_one_program_that_reads_them_as_arguments(write):
    traces = []

    def fitness(genomes, both):
        traces.append(1)
        return jnp.stack([table(genomes) for table in both], axis=1)

    latency, macs = (load(write(), column, SPACE) for column in ("latency_ms", "macs"))
    found = search_many(
        RandomSearch(4), SPACE, jax.random.split(jax.random.key(0), 3), fitness, 5, (latency, macs)
    )
    doubled = Table("latency_ms", "", 2 * latency.values)
    again = search_many(
        RandomSearch(4), SPACE, jax.random.split(jax.random.key(0), 3), fitness, 5, (doubled, macs)
    )
    assert len(traces) == 1
    np.testing.assert_array_equal(found.fitness[..., 0], np.asarray(latency(found.genomes)))
    np.testing.assert_array_equal(again.fitness, found.fitness * np.array([2, 1], np.float32))


def test_an_unknown_column_lists_the_known_ones(write):
    with pytest.raises(
        UserError, match=r"has no column 'latency' of 6 numbers; known: latency_ms, macs$"
    ):
        load(write(short=np.zeros(5), text=np.array(["x"] * 6)), "latency", SPACE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arch": None},
            (
                r"needs an array 'arch' of integers \(rows, 2\), the genomes of toy, got float64 "
                r"\(0,\)"
            ),
        ),
        (
            {"arch": EVERY[:, :1]},
            r"needs an array 'arch' of integers \(rows, 2\).* got int32 \(6, 1\)",
        ),
        ({"arch": EVERY + 0.5}, r"needs an array 'arch' of integers .* got float64"),
        ({"arch": EVERY - 1}, r"choice indices of toy, from 0 and below \[2, 3\]"),
        ({"arch": EVERY[:, ::-1]}, r"choice indices of toy, from 0 and below \[2, 3\]"),
        ({"arch": EVERY[[0, 1, 2, 3, 4, 4]]}, "has a genome more than once"),
    ],
)
def test_rows_that_are_no_genomes(write, changes, message):
    with pytest.raises(UserError, match=message):
        load(write(**changes), "latency_ms", SPACE)


def test_files_that_cannot_be_read(write, tmp_path):
    for path in (tmp_path / "none.npz", "~nobody-of-this-name/none.npz"):
        with pytest.raises(UserError, match="no such table; check the path"):
            load(path, "latency_ms", SPACE)
    (tmp_path / "text.npz").write_text("latency 3 ms")
    np.save(tmp_path / "array.npy", MS)
    whole = write().read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    pickled = write(extra=np.array([{}], object))
    for path in (
        tmp_path / "text.npz",
        tmp_path / "array.npy",
        tmp_path / "cut.npz",
        pickled,
        Path("/dev/zero"),
    ):
        with pytest.raises(UserError, match=r"cannot be read as an .npz of plain arrays"):
            load(path, "latency_ms", SPACE)


def test_more_rows_than_genomes_are_not_read(write, monkeypatch):
    path = write(arch=np.tile(EVERY, (9, 1)), latency_ms=np.ones(54))
    monkeypatch.setattr(archives.Archive, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match="'arch' has 54 rows, more than space toy has genomes"):
        load(path, "latency_ms", SPACE)


def test_a_space_too_large_for_a_table(write, monkeypatch):
    monkeypatch.setattr(tables, "LARGEST", 5)
    with pytest.raises(UserError, match="space toy has more than 5 genomes"):
        load(write(), "latency_ms", SPACE)


# The published table.


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.exists():
        pytest.skip(f"needs {PUBLISHED.name} in ../shared/data")
    return PUBLISHED


def test_published_figures_of_known_cells(published):
    """The benchmark's optimum, and the example that HW-NAS-Bench prints of the first cell."""
    best = from_string(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )
    first = from_string(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    accuracy = load(published, "test_acc_cifar10", nasbench201(), "%")
    assert (
        float(accuracy(best))
        == pytest.approx(94.37, abs=0.005)
        == pytest.approx(float(accuracy.values.max()), abs=0.005)
    )
    for device, ms in {
        "raspi4": 10.4820,
        "pixel3": 3.6058,
        "eyeriss": 3.6456,
        "fpga": 2.5730,
    }.items():
        assert float(
            load(published, f"latency_ms_{device}", nasbench201(), "ms")(first)
        ) == pytest.approx(ms, abs=5e-5)


def test_published_macs_are_those_of_the_operations(published):
    """7,783,040 without a cell's convolutions.

    Each 3x3 of 16 channels at 32 x 32 counts in 15 cells of equal cost, a 1x1 a ninth.
    """
    genomes = nasbench201().sample(jax.random.key(0), 200)
    taps = np.array([0, 0, 1, 9, 0])[np.asarray(genomes)].sum(axis=1)
    np.testing.assert_allclose(
        load(published, "macs_cifar10", nasbench201())(genomes),
        7783040 + 15 * 16 * 16 * 1024 * taps,
        rtol=1e-6,
    )


def test_every_published_column_is_whole(published):
    with pytest.raises(
        UserError,
        match=r"known: analog_baseline_accuracy, .*latency_ms_titanxp_32, .*unique_cell_id$",
    ) as error:
        load(published, "", nasbench201())
    columns = str(error.value).split("known: ")[1].split(", ")
    assert sum(column.startswith("latency_ms_") for column in columns) == 24
    assert sum(column.startswith("analog_") for column in columns) == 21
    for column in ("latency_ms_samsung_s7", "analog_hwt_accuracy", "analog_noisy_drift_60s_unc"):
        assert jnp.isfinite(load(published, column, nasbench201()).values).all()
