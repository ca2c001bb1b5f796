import json
import re
import resource
import shutil
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from jaxnas.algorithms import pareto
from jaxnas.config import DEVICES
from jaxnas.data import digits
from jaxnas.data.preparation import PUBLISHED
from jaxnas.experiment import load_config
from jaxnas.hardware.device import Measurement
from jaxnas.pipeline import STAGES
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.weights import checkpoints, published_mobilenet
from jaxnas.weights.trained import load, look, to_bytes


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(result, *parts):
    code, lines = result
    assert (
        code == 2
        and lines
        and lines[-1].startswith("jaxnas: ")
        and not any(line.startswith("Traceback") for line in lines)
    ), lines
    for part in parts:
        assert part in lines[-1]


def edit_json(path, edit):
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def without(run, *names):
    for name in names:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# What a whole run leaves


def test_the_measurements_are_those_of_the_plan(finished_run):
    rows = RunDirectory(finished_run).read_csv("measurements.csv")
    assert len(rows) == 2 * 12 and [row["round"] for row in rows] == ["0"] * 12 + ["1"] * 12
    assert {
        split: sum(row["split"] == split for row in rows)
        for split in ("train", "validation", "test")
    } == {
        "train": 12,
        "validation": 6,
        "test": 6,
    }
    assert len({row["genome"] for row in rows}) == 12
    assert all(
        float(row["latency_ms"]) > 0 and row["failure"] == "" and int(row["macs"]) > 0
        for row in rows
    )


@pytest.mark.parametrize("file", ["candidates.npz", "random.npz"])
def test_the_candidates_have_shapes_types_and_ranges(finished_run, file):
    arrays = RunDirectory(finished_run).read_npz(file)
    n = 4 * 8
    kinds = {
        name: (array.shape, array.dtype.name)
        for name, array in arrays.items()
        if name not in ("objectives", "labels")
    }
    assert kinds == {
        "genomes": ((n, 11), "int32"),
        "fitness": ((n, 2), "float32"),
        "generation": ((n,), "int32"),
        "parents": ((n, 2), "int32"),
        "feasible": ((n,), "bool"),
        "network": ((n,), "int32"),
        "seed": ((), "int64"),
    }
    assert arrays["objectives"].tolist() == ["error", "latency_ms"] and arrays["seed"] == 0
    assert arrays["generation"].tolist() == [i for i in range(8) for _ in range(4)]
    assert (arrays["genomes"] >= 0).all() and (arrays["genomes"] < 3).all()
    error, latency_ms = arrays["fitness"].T
    assert (error >= 0).all() and (error <= 1).all() and (latency_ms > 0).all()
    first = arrays["generation"] == 0
    parents = arrays["parents"]
    assert (parents[first] == -1).all() and (parents < (4 * arrays["generation"])[:, None]).all()
    if file == "candidates.npz":
        assert (parents[~first, 0] >= 0).all() and len(np.unique(error)) > 1


def test_the_networks_are_chosen_from_the_candidates(finished_run):
    run = RunDirectory(finished_run)
    archive = run.read_npz("candidates.npz")
    chosen = run.read_json("chosen.json")
    assert 1 <= len(chosen) <= 3
    for network in chosen:
        mine = (archive["genomes"] == network["genome"]).all(1)
        assert network["predicted_ms"] in archive["fitness"][mine, 1].tolist()
        assert network["search_accuracy"] == pytest.approx(
            1 - archive["fitness"][mine, 0][0], abs=1 / 40 + 1e-6
        )


def test_the_front_is_ranked_on_images_that_the_search_has_not_seen(finished_run):
    run = RunDirectory(finished_run)
    archive = run.read_npz("candidates.npz")
    selection = run.read_npz("selection.npz")
    data = run.read_json("data.json")
    assert (data["search"], data["selection"]) == (50, 50)
    assert [sum(data["class_sizes"][name]) for name in ("search", "selection")] == [50, 50]
    rows = [
        np.flatnonzero((archive["genomes"] == genome).all(1))[0] for genome in selection["genomes"]
    ]
    front = np.asarray(pareto.front(jnp.asarray(archive["fitness"])))
    assert front[rows].all() and len(set(archive["network"][rows])) == len(rows) == len(
        set(archive["network"][front])
    )
    np.testing.assert_array_equal(archive["fitness"][rows, 0], selection["search_error"])
    errors = dict(
        zip(
            map(tuple, selection["genomes"].tolist()),
            selection["selection_error"].tolist(),
            strict=True,
        )
    )
    for network in run.read_json("chosen.json"):
        assert network["selection_accuracy"] == pytest.approx(
            1 - errors[tuple(network["genome"])], abs=1 / 50 + 1e-6
        )
    assert run.read_json("chosen.json")[0]["selection_accuracy"] == pytest.approx(
        1 - min(errors.values()), abs=1 / 50 + 1e-6
    )


def test_the_models_classify_as_stated(finished_run):
    """By ONNX Runtime and the file's own metadata alone, from the pixels on."""
    run = RunDirectory(finished_run)
    test = digits.load("", data_dir=None, search_images=100, calibration_images=64, seed=0).test
    rows = run.read_csv("verified.csv")
    assert [row["name"] for row in rows] == [
        chosen["name"] for chosen in run.read_json("chosen.json")
    ]
    for row in rows:
        model = onnx.load(run.path(row["model"]))
        onnx.checker.check_model(model, full_check=True)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        mean, deviation = (
            np.array(json.loads(properties[name]), np.float32) for name in ("mean", "deviation")
        )
        assert properties["input_size"] == "16" and properties["channel_order"] == "grey"
        assert properties["image_size"] == "16" and properties["interpolation"] == "antialiased"
        assert json.loads(properties["class_names"]) == [str(i) for i in range(10)]
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        images = ((test.images.astype(np.float32) / 255 - mean) / deviation).transpose(0, 3, 1, 2)
        classes = [
            int(np.asarray(session.run(None, {"image": image[None]})[0]).argmax())
            for image in images
        ]
        assert float(row["test_accuracy"]) == np.mean(classes == test.labels)
        assert float(row["measured_ms"]) > 0 and row["failure"] == ""
        for least, rest in (("measured_ms", ""), ("float32_ms", "float32_"), ("int8_ms", "int8_")):
            assert (
                0
                < float(row[least])
                <= float(row[f"{rest}median_ms"])
                <= float(row[f"{rest}p99_ms"])
            )


def test_the_report_is_self_contained(finished_run):
    page = (finished_run / "report.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page) and "@import" not in page
    for network in RunDirectory(finished_run).read_json("chosen.json"):
        assert network["name"] in page


def test_every_stage_is_timed_and_training_is_logged(finished_run):
    lines = RunDirectory(finished_run).read_jsonl("metrics.jsonl")
    assert [line["stage"] for line in lines if line.get("event") == "done"] == [
        name for name in STAGES if name != "report"
    ]
    steps = [line["step"] for line in lines if line["stage"] == "train" and "step" in line]
    assert steps == list(range(1, 21))


def test_a_run_done_before_is_left_alone(cli, micro, run_copy):
    before = contents(run_copy)
    code, lines = cli("run", micro, "--out", run_copy)
    assert code == 0 and lines == [
        f"{name}: done before" for name in STAGES if name != "report"
    ] + [f"report: {run_copy}/report.html"]
    after = contents(run_copy)
    assert before.keys() == after.keys()
    assert [str(path) for path in after if before[path] != after[path]] in ([], ["report.html"])


# Stages out of order


@pytest.mark.parametrize(
    "command, missing",
    [
        ("train", "data"),
        ("profile", "data"),
        ("search", "data"),
        ("verify", "data"),
        ("report", "data"),
    ],
)
def test_a_stage_before_its_predecessors_names_the_first(cli, micro, tmp_path, command, missing):
    refused(
        cli(command, micro, "--out", tmp_path / "run"),
        f"run `jaxnas {missing}` before `jaxnas {command}`",
    )
    assert not (tmp_path / "run").exists()


def test_the_first_stage_that_is_missing_is_named(cli, run_copy):
    without(run_copy, "predictor.npz", "exported.csv")
    refused(
        cli("finetune", run_copy),
        "no predictor.npz",
        "run `jaxnas predict` before `jaxnas finetune`",
    )


def test_what_follows_an_unfinished_stage_is_refused(cli, run_copy):
    lines = (run_copy / "measurements.csv").read_text().splitlines(keepends=True)
    (run_copy / "measurements.csv").write_text("".join(lines[:-1]))
    without(run_copy, "predictor.json", "chosen.json")
    refused(cli("predict", run_copy), "measurements.csv", "not complete", "`jaxnas profile`")
    archive = RunDirectory(run_copy).read_npz("candidates.npz")
    half = {
        name: array[:16] if array.ndim and name != "objectives" else array
        for name, array in archive.items()
    }
    RunDirectory(run_copy).write_npz("candidates.npz", **half)
    refused(cli("finetune", run_copy), "search", "not complete", "`jaxnas search`")


# Damaged files


def _half(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _empty_object(path):
    path.write_text("{}")


def _one_column_less(path):
    path.write_text(
        "\n".join(line.split(",", 1)[1] for line in path.read_text().splitlines()) + "\n"
    )


def _nonsense(path):
    path.write_text(path.read_text().replace("0.0", "zero", 3))


def _one_array(path):
    with np.load(path) as arrays:
        np.savez(path, **dict(list(arrays.items())[:1]))


def _cut_arrays(path):
    with np.load(path) as arrays:
        np.savez(
            path,
            **{
                name: array[..., :1] if array.ndim == 2 else array for name, array in arrays.items()
            },
        )


@pytest.mark.parametrize(
    "command, file, spoil, removed",
    [
        ("train", "data.json", _half, []),
        ("train", "data.json", _empty_object, []),
        ("report", "environment.json", _half, []),
        ("profile", "measurements.csv", _one_column_less, []),
        ("profile", "measurements.csv", _nonsense, []),
        ("search", "predictor.npz", _half, ["random.npz"]),
        ("search", "predictor.npz", _one_array, ["random.npz"]),
        ("search", "predictor.npz", _cut_arrays, ["random.npz"]),
        ("search", "candidates.npz", _half, []),
        ("search", "candidates.npz", _one_array, []),
        ("search", "candidates.npz", _cut_arrays, []),
        ("finetune", "candidates.npz", _half, ["chosen.json"]),
        ("export", "chosen.json", _half, []),
        ("export", "chosen.json", _empty_object, ["exported.csv"]),
        ("export", "chosen.json", lambda path: path.write_text("[{}]"), []),
        ("verify", "exported.csv", _one_column_less, ["verified.csv"]),
        ("verify", "exported.csv", lambda path: path.write_text("name,model\n"), ["verified.csv"]),
        ("verify", "models/most_accurate.onnx", _half, ["verified.csv"]),
        ("report", "random.npz", _half, []),
        ("report", "verified.csv", lambda path: path.write_bytes(b"\xff\xfe\n\n"), []),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_written(
    cli, run_copy, command, file, spoil, removed
):
    without(run_copy, "report.html", *removed)
    spoil(run_copy / file)
    before = contents(run_copy)
    refused(cli(command, run_copy), "corrupt", file)
    assert contents(run_copy) == before


@pytest.mark.parametrize(
    "command, file",
    [
        ("data", "environment.json"),
        ("predict", "predictions.csv"),
        ("predict", "predictor.npz"),
        ("export", "models/most_accurate.onnx"),
    ],
)
def test_a_deleted_file_is_made_again_as_it_was(cli, run_copy, command, file):
    before = (run_copy / file).read_bytes()
    without(run_copy, file)
    assert cli(command, run_copy)[0] == 0
    assert (run_copy / file).read_bytes() == before or file == "predictions.csv"


def test_a_damaged_checkpoint_is_refused(cli, run_copy):
    without(run_copy, "random.npz")
    for path in (run_copy / "checkpoints/supernet").rglob("*"):
        if path.is_file():
            _half(path)
    before = contents(run_copy)
    refused(cli("search", run_copy), "corrupt checkpoint", "delete that folder")
    assert contents(run_copy) == before


def test_a_checkpoint_of_another_space_is_refused(cli, run_copy):
    without(run_copy, "chosen.json")
    edit_json(run_copy / "config.json", lambda config: {**config, "space": "tiny"})
    without(run_copy, "space.json")
    refused(cli("profile", run_copy), "is a checkpoint of another network")


def test_a_predictor_of_another_space_is_refused(cli, run_copy):
    without(run_copy, "random.npz", "candidates.npz")
    edit_json(run_copy / "config.json", lambda config: {**config, "space": "tiny"})
    without(run_copy, "space.json")
    refused(cli("search", run_copy), "predictor.npz", "another space than tiny")


# What a run meets


@pytest.mark.parametrize(
    "command, file, limit",
    [("data", None, 200), ("report", "report.html", 2000), ("predict", "predictor.npz", 1000)],
)
def test_a_full_disk(cli, run_copy, micro, tmp_path, command, file, limit):
    """A file may not exceed `limit` bytes, which the kernel reports like a full disk."""
    if file:
        without(run_copy, file)
    out = run_copy if file else tmp_path / "new"
    before = contents(out)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        result = cli(command, run_copy) if file else cli("data", micro, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    refused(result, "cannot write", "free some space")
    after = contents(out)
    after.pop(
        next((path for path in after if path.name == ".lock" and path not in before), None), None
    )
    assert after == before
    assert cli(command, run_copy)[0] == 0 if file else cli("data", micro, "--out", out)[0] == 0


class _Broken:
    name = "broken"

    def measure(self, model):
        return Measurement(
            "broken",
            float("nan"),
            float("nan"),
            float("nan"),
            0,
            1,
            "none",
            "ValueError: no such operator",
        )


def test_a_device_on_which_all_fails_is_given_up(cli, run_copy, monkeypatch):
    without(run_copy, "measurements.csv", "predictor.json")
    monkeypatch.setitem(DEVICES, "onnxruntime", lambda settings: _Broken())
    for _ in range(2):
        refused(
            cli("profile", run_copy),
            "all 10 networks failed on the device",
            "ValueError: no such operator",
            "delete",
            "measurements.csv",
        )
        # Not the whole plan, and no more when run again.
        assert len(RunDirectory(run_copy).read_csv("measurements.csv")) == 10


def test_a_limit_below_every_network_is_refused_before_the_search(cli, run_copy):
    without(run_copy, "random.npz", "candidates.npz")
    edit_json(run_copy / "config.json", lambda config: {**config, "latency_limit_ms": 1e-6})
    refused(
        cli("search", run_copy),
        "latency_limit_ms 1e-06 is below every network",
        "that was tried",
        "raise it",
    )
    assert not (run_copy / "candidates.npz").exists()


def test_a_formulation_under_constraints_keeps_all_figures_and_its_best_is_chosen_first(
    cli, run_copy
):
    run = RunDirectory(run_copy)
    without(run_copy, "random.npz", "candidates.npz", "selection.npz", "chosen.json")

    def under(*constraints):
        search = {"constraints": constraints, "formulation": "weighted_sum:weights=1,0.001"}
        edit_json(
            run_copy / "config.json",
            lambda config: {
                **config,
                "search": {**config["search"], **search},
                "finetune": asdict(FinetuneConfig(epochs=0)),
            },
        )

    under("mmacs=0.0001")
    refused(
        cli("search", run_copy),
        "search.constraints mmacs=0.0001 is below every network",
        "raise it",
    )
    under("mmacs=0.03", "mparams=1")
    code, said = cli("search", run_copy)
    assert code == 0, said
    for file in ("candidates.npz", "random.npz"):
        arrays = run.read_npz(file)
        assert arrays["fitness"].shape == (32, 2) and arrays["constrained"].shape == (32, 2)
        assert arrays["constraints"].tolist() == ["mmacs", "mparams"]
        np.testing.assert_array_equal(arrays["feasible"], arrays["constrained"][:, 0] <= 0.03)
        assert arrays["feasible"].any() and not arrays["feasible"].all()
    arrays = run.read_npz("candidates.npz")
    # Stopped in the middle, the search goes on where it was.
    half = {name: array for name, array in arrays.items() if name != "network"}
    run.write_npz(
        "candidates.npz",
        **{
            name: array[:16] if len(array.shape) and len(array) == 32 else array
            for name, array in half.items()
        },
    )
    assert cli("search", run_copy)[0] == 0
    np.testing.assert_array_equal(run.read_npz("candidates.npz")["genomes"], arrays["genomes"])
    code, said = cli("finetune", run_copy)
    assert code == 0, said
    first, *_ = run.read_json("chosen.json")
    assert first["name"] == "best" and first["macs"] <= 30000
    assert first["role"] == "best by weighted_sum:weights=1,0.001"


def test_the_most_accurate_below_the_limit_comes_first(cli, run_copy):
    fitness = RunDirectory(run_copy).read_npz("candidates.npz")["fitness"]
    limit_ms = float(np.median(fitness[:, 1]))
    wanted = fitness[fitness[:, 1] <= limit_ms, 0].min()
    assert wanted > fitness[:, 0].min() or limit_ms < fitness[:, 1].max()
    # Under the limit other networks may be chosen in the same roles.
    tuned = [path.name for path in (run_copy / "checkpoints").iterdir() if path.name != "supernet"]
    without(run_copy, "chosen.json", *(f"checkpoints/{name}" for name in tuned))
    edit_json(
        run_copy / "config.json",
        lambda config: {
            **config,
            "latency_limit_ms": limit_ms,
            "finetune": {**config["finetune"], "epochs": 0},
        },
    )
    code, lines = cli("finetune", run_copy)
    assert code == 0, lines
    first = RunDirectory(run_copy).read_json("chosen.json")[0]
    assert first["name"] == "below_limit" and first["predicted_ms"] <= limit_ms
    assert first["search_accuracy"] == pytest.approx(1 - wanted, abs=1 / 40 + 1e-6)


def test_weights_that_are_not_numbers_stop_the_search(cli, run_copy):
    """The largest of NaN logits would be class 0.

    The search would go on with a tenth of the images right.
    """
    with RunDirectory(run_copy) as run:
        state = open_job(run, load_config(str(run_copy))).train_state()
    assert state is not None
    step = int(state.step)
    without(run_copy, "random.npz", "candidates.npz", "checkpoints/supernet")
    params, average = jax.tree.map(lambda x: x * np.nan, (state.params, state.average))
    spoilt = state._replace(params=params, average=average)
    checkpoints.save(run_copy / "checkpoints/supernet", step, spoilt)
    refused(cli("search", run_copy), "all 32 have NaN fitness")


def test_no_epochs_leave_an_untrained_supernet(cli, micro, tmp_path):
    arguments = (micro, "--out", tmp_path / "run", "--train.epochs", 0)
    assert cli("data", *arguments)[0] == 0
    assert cli("train", *arguments)[0] == 0
    assert checkpoints.latest_step(tmp_path / "run/checkpoints/supernet") == 0
    assert cli("train", *arguments) == (0, ["train: done before"])


@pytest.mark.slow
def test_no_epochs_at_all_make_a_whole_run(start, micro, tmp_path):
    process = start(
        "run", micro, "--out", tmp_path / "run", "--train.epochs", 0, "--finetune.epochs", 0
    )
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert (tmp_path / "run/report.html").exists()


OWN_SPACE = """\
first_widths = [8, 16]
first_stride = 2
last_widths = [16, 32]
activation = "hard_swish"
shortcut = "identity"
per_block = true
stages = [
    {widths = [8, 16], depths = [1], kernels = [3, 5], expands = [1], stride = 2, \
operator = "fused_mbconv"},
    {widths = [16, 24], depths = [1, 2], kernels = [3, 5], expands = [2, 3], stride = 2, \
squeeze_excite = true},
]
"""


@pytest.mark.slow
def test_a_users_own_space_of_ten_lines_trains_searches_and_exports(cli, micro, tmp_path):
    assert OWN_SPACE.count("\n") == 10
    file = tmp_path / "own.toml"
    run = tmp_path / "run"
    file.write_text(OWN_SPACE)
    short = (
        "--profile.train",
        3,
        "--profile.validation",
        2,
        "--profile.test",
        2,
        "--search.generations",
        2,
        "--finetune.epochs",
        0,
    )
    code, lines = cli("run", micro, "--out", run, "--space", file, *short)
    assert code == 0, lines
    arrays = RunDirectory(run).read_npz("candidates.npz")
    assert arrays["genomes"].shape == (8, 13) and np.isfinite(arrays["fitness"]).all()
    exported = RunDirectory(run).read_csv("exported.csv")
    assert exported and all(float(row["top1_agreement"]) == 1 for row in exported)
    about = {one.key: one.value for one in onnx.load(run / exported[0]["model"]).metadata_props}
    assert about["space"] == "own" and json.loads(about["network"]).keys() >= {
        "mb1_width",
        "mb2_block1_kernel",
    }

    file.write_text("# the same space\n" + OWN_SPACE)
    assert cli("export", run)[0] == 0
    before = contents(run)
    file.write_text(OWN_SPACE.replace("expands = [2, 3]", "expands = [2, 4]"))
    refused(
        cli("export", run),
        (
            "made with other settings: stages.mb2.expands [2, 3] -> [2, 4]; use another --out, or "
            "restore them"
        ),
    )
    assert contents(run) == before


@pytest.mark.slow
def test_a_whole_run_in_the_smallest_space_for_users(start, micro, tmp_path):
    process = start("run", micro, "--out", tmp_path / "run", "--space", "tiny")
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert RunDirectory(tmp_path / "run").read_npz("candidates.npz")["genomes"].shape == (32, 31)


# The search trains a classifier that starts from random numbers.
TUNED = ("--search.hybrid.head-epochs", 1)


def test_a_supernet_starts_from_published_weights(cli, micro, monkeypatch, tmp_path):
    """The reader itself has tests of its own; here half stands for what it would read."""

    def load(path, net, classifier):
        assert path == "some.pth"
        half = jax.tree.map(
            lambda leaf: np.full(leaf.shape, 0.5, np.float32),
            jax.eval_shape(net.init, jax.random.key(0)),
        )
        return published_mobilenet.Weights(half | {"classifier": classifier}, "Once-for-All", "MIT")

    (tmp_path / "here" / "some.pth").write_text("not read here")
    monkeypatch.setattr(
        published_mobilenet,
        "look",
        lambda path, net: published_mobilenet.About(
            "Once-for-All", "MIT", 1000, "state_dict", ("state_dict_ema",)
        ),
    )
    monkeypatch.setattr(published_mobilenet, "load", load)
    settings = ("--out", "run", "--train.epochs", "0", "--weights", "some.pth", *TUNED)
    assert cli("data", micro, *settings)[0] == 0
    code, lines = cli("train", micro, *settings)
    assert code == 0
    for said in (
        "licence: MIT",
        "state_dict is taken",
        "fresh classifier: the checkpoint tells apart 1000 classes, the data have 10",
    ):
        assert any(said in line for line in lines)
    with RunDirectory("run") as run:
        job = open_job(run, load_config("run"))
        params = job.params()
    assert job.prepared == PUBLISHED["Once-for-All"] and job.augmentation.resizing == "bilinear"
    plain = job.images(job.data.calibration, 16)
    # Varied as their training varied images, until this run trains them.
    assert np.abs(job.calibration(16) - plain).max() > 1
    np.testing.assert_array_equal(job.calibration(16, epochs=1), plain)
    assert look("run/supernet.safetensors", job.net).prepared == PUBLISHED["Once-for-All"]
    assert (params["first_conv"]["kernel"] == 0.5).all()
    # Ten classes of its own, not ImageNet's thousand.
    assert np.std(params["classifier"]["kernel"]) > 1e-3


@pytest.mark.parametrize(
    "name, complaint",
    [
        ("some.pth", "cannot read the checkpoint some.pth"),
        ("some.npz", "there is no supernet 'some.npz'"),
        ("tiny_cifar10", "unknown weights 'tiny_cifar10'; known: residual_cifar10, "),
        ("tiny_cifar100", "is a supernet of another space than micro"),
    ],
)
def test_weights_that_will_not_do_are_refused_before_anything_is_written(
    cli, micro, tmp_path, name, complaint
):
    (tmp_path / "here" / "some.pth").write_text("no checkpoint")
    refused(cli("data", micro, "--out", "run", "--weights", name), complaint)
    assert not (tmp_path / "here" / "run").exists()


@pytest.mark.parametrize("same_classes", [True, False])
def test_a_supernet_starts_from_another_runs(cli, micro, finished_run, tmp_path, same_classes):
    """With the classifier where the classes are the same ones, not only as many.

    A fresh one must be trained by somebody.
    """
    job = open_job(RunDirectory(finished_run), load_config(str(finished_run)))
    weights, names, prepared = load(finished_run / "supernet.safetensors", job.net)
    if not same_classes:
        names = tuple(f"another {name}" for name in names)
    other = tmp_path / "other.safetensors"
    other.write_bytes(to_bytes(job.net, weights, names, prepared))
    settings = ("--out", "run", "--train.epochs", "0", "--weights", other)
    if not same_classes:
        refused(
            cli("data", micro, *settings),
            "train.epochs 0 would search with a classifier of random numbers (fresh classifier: ",
        )
        assert not (tmp_path / "here" / "run").exists()
        settings += TUNED
    assert cli("data", micro, *settings)[0] == 0
    assert cli("train", micro, *settings)[0] == 0
    found = load("run/supernet.safetensors", job.net)
    kept = jax.tree.map(np.array_equal, found.params, weights)
    head = kept.pop("classifier")
    assert all(jax.tree.leaves(kept))
    assert (found.class_names == names) == all(head.values()) == any(head.values()) == same_classes
