"""Successive halving of a generation, and which images guide the search and which the choice."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxnas.config import Config
from jaxnas.data.dataset import Split
from jaxnas.objectives.columns import Columns
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.evaluation import divided, halving, search_split, selection_split
from jaxnas.stages.job import Job

NAMES = ("error", "latency_ms")


def costs(latency):
    return lambda genomes: Columns(("latency_ms",), latency[genomes[:, 0]][:, None])


def test_only_the_better_half_goes_on_and_the_others_keep_what_they_had():
    genomes = np.arange(8, dtype=np.int32)[:, None]
    cheap = np.array([0.5, 0.4, 0.3, 0.2, 0.9, 0.8, 0.7, 0.6], np.float32)
    latency = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)  # the first four are the front
    asked = []

    def evaluator(errors):
        def evaluate(genomes):
            asked.append(set(genomes[:, 0].tolist()))
            assert len(genomes) == 8
            return errors[genomes[:, 0]]

        return evaluate

    errors = [evaluator(cheap), evaluator(cheap - 0.1), evaluator(cheap - 0.2)]
    found = halving(NAMES, errors, costs(latency))(genomes)
    assert asked == [set(range(8)), {0, 1, 2, 3}, {2, 3}]
    np.testing.assert_allclose(found[:, 0], [0.4, 0.3, 0.1, 0.0, 0.9, 0.8, 0.7, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found[:, 1], latency)


def test_dominated_candidates_are_stopped_first_whatever_their_error():
    genomes = np.arange(4, dtype=np.int32)[:, None]
    # 1 dominates 2.
    errors = np.array([0.9, 0.2, 0.3, 0.8], np.float32)
    ms = np.array([1, 5, 6, 2], np.float32)

    def of(values):
        return lambda genomes: values[genomes[:, 0]]

    found = halving(NAMES, [of(errors), of(errors - 1)], costs(ms))(genomes)
    np.testing.assert_allclose(found[:, 0], [0.9, -0.8, 0.3, -0.2], atol=1e-6)
    turned = halving(NAMES[::-1], [of(errors), of(errors - 1)], costs(ms))(genomes)
    np.testing.assert_array_equal(turned, found[:, ::-1])


@pytest.mark.parametrize(
    "count, share, held_out",
    [(40, 0.5, 20), (41, 0.25, 10), (40, 0.0, 0), (3, 0.99, 2), (1, 0.5, 0)],
)
def test_a_share_is_held_out_and_both_parts_hold_the_classes_in_proportion(count, share, held_out):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = (np.arange(count) % 4 == 3).astype(np.int32)  # in proportion, as a search split is
    seen, unseen = divided(Split(images, labels), share)
    assert (len(seen), len(unseen)) == (count - held_out, held_out)
    assert set(seen.images.ravel()) | set(unseen.images.ravel()) == set(range(count))
    for part in (seen, unseen):
        assert abs(part.labels.sum() - len(part) / 4) < 1


def test_a_run_from_before_there_was_a_selection_searches_on_all_of_the_split(tmp_path):
    split = Split(np.zeros((8, 1, 1, 1), np.uint8), np.zeros(8, np.int32))
    job = object.__new__(Job)  # without a space and a supernet, which nobody asks here
    for name, value in {
        "run": RunDirectory(tmp_path),
        "data": SimpleNamespace(search=split),
        "config": Config(name="older"),
    }.items():
        object.__setattr__(job, name, value)
    older = {name: 8 for name in ("height", "width", "train", "search", "test", "calibration")}
    older |= {"name": "x", "source": "x", "channels": 1, "class_names": ["a", "b"]}
    older |= {"mean": [0.5], "deviation": [0.5], "fingerprint": "x"}
    job.run.write_json("data.json", older)
    assert len(search_split(job)) == 8 and selection_split(job) is None
    job.run.write_json("data.json", older | {"search": 4, "selection": 4})
    assert len(search_split(job)) == 4 and len(selection_split(job) or []) == 4
