"""`jaxnas prune`: a run's space, weights and front made smaller, and searched again."""

import json
import shutil
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from jaxnas.config import make_space
from jaxnas.errors import UserError
from jaxnas.experiment import load_config
from jaxnas.export.onnx import emit
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.genomes import from_text
from jaxnas.stages.initial import initial_genomes
from jaxnas.stages.job import open_job
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.weights import networks


@pytest.fixture
def pruned(cli, run_copy, capsys):
    """The folder that is left of the finished run, and what was said."""
    code, errors = cli("prune", run_copy, "--share", "0.4", "--out", "left")
    assert (code, errors) == (0, [])
    return run_copy.parent / "here" / "left"


def test_the_networks_left_are_those_of_the_run(pruned, cli, run_copy):
    """Searched again without training they have the errors that they had."""
    settings = ("--space", pruned / "pruned.json", "--weights", pruned / "supernet.safetensors")
    more = ("--train.epochs", 0, "--search.initial", pruned / "front.npz")
    for stage in ("data", "train"):
        code, errors = cli(stage, run_copy, *settings, *more, "--out", "again")
        assert code == 0, errors
    before = open_job(RunDirectory(run_copy), load_config(str(run_copy)))
    again = RunDirectory(run_copy.parent / "here" / "again")
    job = open_job(again, load_config(str(again.root)))
    assert job.space.size() <= 0.4 * before.space.size()
    assert (
        job.space.settings["choices"] == json.loads((pruned / "pruned.json").read_text())["choices"]
    )
    front = json.loads((pruned / "networks.json").read_text())
    params, own = before.params(), job.params()
    shared = networks.load(pruned / "supernet.safetensors", job.net)
    assert len(front) > 1 and [*shared] == [str(i) for i in range(len(front))]
    for one, subnet in zip(front, shared.values(), strict=True):
        assert {"error", "latency_ms"} < {*one}
        genome = from_text(one["genome"])
        assert job.space.decode(genome) == one["network"]
        whole = before.space.encode(one["network"])
        ops = job.space.ops(genome)
        assert ops == before.space.ops(whole)
        expected = before.inherited(params, whole)
        assert subnet.ops == ops
        for found in (subnet.weights, take(own, ops)):
            jax.tree.map(np.testing.assert_array_equal, found, expected.weights)
        jax.tree.map(np.testing.assert_array_equal, subnet.stats, expected.stats)
    stems = [subnet.weights["classifier"]["bias"] for subnet in shared.values()]
    assert all(np.shares_memory(stems[0], stem) for stem in stems[1:])
    with pytest.raises(UserError, match="holds a supernet and no networks"):
        networks.load(run_copy / "supernet.safetensors", before.net)
    rows = initial_genomes(str(pruned / "front.npz"), job.space, 100)
    assert rows.tolist() == [from_text(one["genome"]).tolist() for one in front]
    assert len(initial_genomes(str(pruned / "front.npz"), job.space, 2)) == 2


Network = dict[str, np.ndarray]  # arrays of an exported one


def arrays_of(models: Iterable[ModelProto]) -> list[Network]:
    return [
        {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        for model in models
    ]


def models_of(run: Path) -> list[Network]:
    """Those that are float32."""
    names = [one["name"] for one in RunDirectory(run).read_csv("exported.csv")]
    return arrays_of(onnx.load(run / f"models/{name}.onnx") for name in names)


def directions(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Of each output channel, in the first channels and the middle of the window, of length 1.

    What a folded norm has multiplied it by is gone.
    """
    starts = [0, 0, *(np.subtract(kernel.shape[2:], shape[2:]) // 2)]
    part = kernel[tuple(slice(i, i + n) for i, n in zip(starts, shape, strict=True))]
    rows = part.reshape(len(part), -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)  # a norm's scale may be 0


def apart(one: Network, other: Network) -> float:
    """By how much the kernels of the convolutions that two networks have in common differ."""
    gaps = []
    for name in one.keys() & other.keys():
        pair = one[name], other[name]
        shape = tuple(np.minimum(pair[0].shape, pair[1].shape))
        if len(shape) == 4:
            gaps.append(np.abs(np.subtract(*(directions(kernel, shape) for kernel in pair))).max())
    assert len(gaps) > 3
    return max(gaps)


def test_exported_networks_share_their_weights_until_they_are_fine_tuned(pruned, cli, run_copy):
    """Those of the whole run, and those in the file that is left, alike."""
    tuned = models_of(run_copy)
    settings = json.loads((run_copy / "config.json").read_text())
    settings["finetune"] |= {"epochs": 0, "networks": 50}  # more than the front has
    (run_copy / "config.json").write_text(json.dumps(settings))
    for file in ("chosen.json", "exported.csv"):
        (run_copy / file).unlink()
    for folder in (run_copy / "checkpoints").iterdir():
        if folder.name != "supernet":
            shutil.rmtree(folder)
    code, errors = cli("finetune", run_copy)
    assert code == 0 and any("chosen of 50 asked for: the front has" in line for line in errors)
    code, errors = cli("export", run_copy)
    assert code == 0, errors
    net = build(make_space(str(pruned / "pruned.json"))(8, 1, 10))
    left = networks.load(pruned / "supernet.safetensors", net).values()
    files = (onnx.load_from_string(emit(subnet, 8, 8, 1)) for subnet in left)
    untuned = [*models_of(run_copy), *arrays_of(files)]
    for one, other in combinations(untuned, 2):
        assert apart(one, other) < 1e-5
        np.testing.assert_array_equal(one["classifier/bias"], other["classifier/bias"])
    assert len({sum(array.size for array in one.values()) for one in untuned}) > 1
    assert len(tuned) > 1 and apart(*tuned[:2]) > 1e-2


def test_a_pruned_run_is_pruned_of_the_whole_space(pruned, cli, run_copy):
    file = json.loads((pruned / "pruned.json").read_text())
    assert file["space"] == "micro" and file["choices"]
    code, lines = cli("data", run_copy, "--space", pruned / "networks.json", "--out", "other")
    assert code == 2 and "describes no pruned space" in lines[-1]
    file["choices"] = {"nothing": [1]}
    (pruned / "pruned.json").write_text(json.dumps(file))
    code, lines = cli("data", run_copy, "--space", pruned / "pruned.json", "--out", "other")
    assert code == 2 and "pruned.json: micro has no gene 'nothing' to prune" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--share", "1"), "argument --share: must be above 0 and below 1, got '1'"),
        (("--share", "0.001"), "micro cannot be pruned to 0.001 of its 128 networks"),
        (("--seed", "1"), "unknown option --seed; see jaxnas prune --help"),
    ],
)
def test_what_cannot_be_pruned_is_one_line(cli, run_copy, arguments, message):
    code, lines = cli("prune", run_copy, *arguments)
    assert code == 2 and len(lines) == 1 and message in lines[0]
    assert not (run_copy / "pruned").exists()


def test_a_folder_of_something_else_is_left_alone(pruned, cli, run_copy):
    code, lines = cli("prune", run_copy, "--out", run_copy)
    assert code == 2 and "holds no pruned space" in lines[-1]
    assert cli("prune", run_copy, "--share", "0.2", "--out", pruned)[0] == 0  # written anew


def test_a_run_must_have_searched(cli, run_copy):
    (run_copy / "random.npz").unlink()
    code, lines = cli("prune", run_copy)
    assert code == 2 and "run `jaxnas search` before `jaxnas prune`" in lines[-1]
    code, lines = cli("prune", run_copy.parent / "nothing")
    assert code == 2 and "is no run directory" in lines[-1]
