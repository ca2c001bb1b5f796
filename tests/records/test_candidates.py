"""What a search has evaluated and found, and the predictor it went by, written and read again."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.loop import ROWS, Archive
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns
from jaxnas.predictors.predictor import Prediction
from jaxnas.profiling.active_search import Found
from jaxnas.records.candidates import CANDIDATES, Searched, read_searched, write_searched
from jaxnas.records.found import read_found, write_found
from jaxnas.records.predictor import PREDICTIONS, Predicted, read_predictions, write_predictions
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.selection import Selection, read_selection, write_selection
from jaxnas.spaces.space import Gene, Space

SPACE = Space("toy", (Gene("width", (8, 16)), Gene("kernel", (3, 5))))
OTHER = Space("other", (Gene("width", (8,)), Gene("kernel", (3, 5))))
GENOMES = np.array([[0, 1], [1, 0]], np.int32)
FITNESS = np.array([[0.5, 1.0], [np.nan, np.nan]], np.float32)
LABELS = {"error": "error", "latency_ms": "predicted latency (ms)"}
SEARCHED = Searched(
    Archive(GENOMES, FITNESS, np.zeros(2, np.int32), np.full((2, 2), -1, np.int32)),
    LABELS,
    np.array([True, False]),
)


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        yield run


def same(one, other):
    return repr(one) == repr(other)


def test_candidates_are_read_as_they_were_written_and_their_columns_have_names(run):
    write_searched(run, CANDIDATES, SEARCHED, seed=3)
    found = read_searched(run, CANDIDATES, SPACE, tuple(LABELS))
    assert same(found, SEARCHED) and run.read_npz(CANDIDATES)["seed"] == 3
    np.testing.assert_array_equal(found["latency_ms"], FITNESS[:, 1])


def test_constraints_are_beside_the_objectives(run):
    beside = Columns(("mmacs",), np.array([[7.0], [np.nan]], np.float32))
    write_searched(run, CANDIDATES, replace(SEARCHED, constraints=beside), seed=3)
    found = read_searched(run, CANDIDATES, SPACE, tuple(LABELS))
    assert found.columns.names == tuple(LABELS) and found.whole.names == (*LABELS, "mmacs")
    np.testing.assert_array_equal(found.whole["mmacs"], [7, np.nan])
    assert SEARCHED.whole.names == SEARCHED.counted.names == tuple(LABELS)
    only = replace(SEARCHED, constraints=beside, feasible=np.array([False, True]))
    assert np.isnan(only.counted.fitness[0]).all()
    np.testing.assert_array_equal(SEARCHED.counted.fitness, FITNESS)
    twice = Columns(("error",), beside.fitness)
    for wrong in (twice, Columns(("mmacs",), beside.fitness[:1])):
        write_searched(run, CANDIDATES, replace(SEARCHED, constraints=wrong), seed=3)
        with pytest.raises(UserError, match=r"^corrupt: .*candidates\.npz"):
            read_searched(run, CANDIDATES)


def test_a_stopped_search_with_figures_is_read_as_it_was_written(run):
    figures = {"reward": np.array([0.5], np.float32)}
    archive = SEARCHED.archive._replace(figures=figures, stopped="the time was up")
    searched = replace(SEARCHED, archive=archive, seconds=2.5)
    write_searched(run, CANDIDATES, searched, seed=3)
    assert same(read_searched(run, CANDIDATES), searched)
    longer = archive._replace(figures={"reward": np.zeros(2, np.float32)})
    write_searched(run, CANDIDATES, replace(searched, archive=longer), seed=3)
    with pytest.raises(UserError, match="figures reward are no numbers of 1 generations"):
        read_searched(run, CANDIDATES)


def test_candidates_of_an_older_run_have_the_names_of_then(run):
    run.write_npz(CANDIDATES, **dict(zip(ROWS, SEARCHED.archive, strict=False)))
    found = read_searched(run, CANDIDATES)
    assert found.labels == LABELS and found.network is None


@pytest.mark.parametrize("space, objectives", [(OTHER, tuple(LABELS)), (SPACE, ("error", "mmacs"))])
def test_candidates_of_another_space_or_other_objectives_are_refused(run, space, objectives):
    write_searched(run, CANDIDATES, SEARCHED, seed=0)
    with pytest.raises(UserError, match=r"^corrupt: .*candidates\.npz"):
        read_searched(run, CANDIDATES, space, objectives)


def test_what_was_found_with_the_device_is_read_as_it_was_written(run):
    values = np.array([0.5, 0.25], np.float32)
    measured_ms = np.array([1.0, np.nan], np.float32)
    measured = np.array([True, False])
    predicted = Prediction(*map(jnp.asarray, (values, values, values)))
    found = Found(GENOMES, values, predicted, measured_ms, measured, 2, 1)
    write_found(run, found)
    assert same(read_found(run, SPACE), found)
    with pytest.raises(UserError, match=r"^corrupt: .*doubt\.npz"):
        read_found(run, OTHER)


def test_the_selection_is_read_as_it_was_written(run):
    assert read_selection(run) is None
    selection = Selection(GENOMES, np.array([0.5, 0.25]), np.array([0.75, np.nan]))
    write_selection(run, selection)
    assert same(read_selection(run), selection)


def test_predictions_are_read_as_they_were_written_and_older_ones_lack_intervals(run):
    one = Predicted("test", GENOMES[0], 1.0, 1.5, 0.0, np.inf)  # of a predictor that fits badly
    write_predictions(run, [one])
    assert same(read_predictions(run), [one])
    row = run.read_csv(PREDICTIONS)[0]
    older = {name: cell for name, cell in row.items() if name not in ("low_ms", "high_ms")}
    run.write_csv(PREDICTIONS, [older])
    assert same(read_predictions(run), [Predicted("test", GENOMES[0], 1.0, 1.5)])
