import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas import start as starting
from jaxnas.arguments import COMMANDS
from jaxnas.cli import main, told
from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.experiment import load_config
from jaxnas.pipeline import STAGES
from jaxnas.records.run_directory import RunDirectory


def test_every_stage_is_a_command():
    assert list(COMMANDS) == ["run", *STAGES]


# Help


def _help(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments), "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command(capsys):
    page = _help(capsys)
    for command, summary in COMMANDS.items():
        assert f"\n    {command} " in page and summary.split()[0] in page
    for word in ("EXPERIMENT", "--out", "JAXNAS_CACHE", "Exit codes"):
        assert word in page


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_says_what_it_does(capsys, command):
    page = _help(capsys, command)
    assert page.startswith(f"usage: jaxnas {command} EXPERIMENT [--out DIR] [overrides]\n")
    assert COMMANDS[command] in " ".join(page.split()) and "--out DIR" in page


def test_help_of_an_experiment_lists_every_setting(capsys, micro):
    page = _help(capsys, "run", micro)
    for field in fields(Config):
        assert f"--{field.name.replace('_', '-')}" in page
    assert "--train.epochs" in page and "(default: 1)" in page and "--out" in page


# Mistakes: exit code 2, one line, nothing written


def refused(result, *parts):
    code, lines = result
    assert code == 2 and len(lines) == 1 and lines[0].startswith("jaxnas: "), lines
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ([], ["COMMAND", "jaxnas --help"]),
        (["serach"], ["'serach'", "'search'", "jaxnas --help"]),
        (["run"], ["EXPERIMENT", "jaxnas run --help"]),
        (["run", "missing.py"], ["'missing.py'", "no such file"]),
        (["run", "empty"], ["empty is no run directory", "name an experiment file"]),
        (["run", "text.txt"], ["a Python file that defines `config`", "'text.txt'"]),
        (["run", "syntax.py"], ["syntax.py does not run", "SyntaxError"]),
        (["run", "fails.py"], ["fails.py does not run", "ZeroDivisionError"]),
        (["run", "nothing.py"], ["nothing.py must define `config`"]),
        (["run", "number.py"], ["must define `config`, a jaxnas.config.Config, got int"]),
    ],
)
def test_a_wrong_command_line_or_experiment(cli, tmp_path, arguments, parts):
    here = tmp_path / "here"
    (here / "empty").mkdir()
    texts = {
        "text.txt": "",
        "syntax.py": "config = (",
        "fails.py": "1 / 0",
        "nothing.py": "",
        "number.py": "config = 1",
    }
    for name, text in texts.items():
        (here / name).write_text(text)
    before = sorted(here.rglob("*"))
    refused(cli(*arguments), *parts)
    assert [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.mark.parametrize(
    "overrides, parts",
    [
        (
            "--train.epoch 3",
            ["--train.epoch", "perhaps you meant --train.epochs", "--help lists all settings"],
        ),
        ("--train.epochs three", ["--train.epochs", "'three'", "--help"]),
        ("--train.epochs", ["Missing value", "--train.epochs"]),
        ("more", ["more"]),
        (
            "--space huge",
            [
                "unknown space 'huge'; known: attentive_nas, ",
                "tiny, the path of a .toml file that describes one, and your own as file.py:name",
            ],
        ),
        (
            "--data.source mnist",
            ["unknown data set 'mnist'; known: cluttered_digits, digits, folder:PATH, npz:PATH, "],
        ),
        (
            "--search.algorithm sgd",
            [
                (
                    "unknown algorithm 'sgd'; known: bayesian, elitist, evolution, evosax, "
                    "islands, local, moead, nsga2, nsga3"
                )
            ],
        ),
        (
            "--search.algorithm islands --search.population 30",
            ["must be a multiple of 4", "got 30: the nearest are 28 and 32"],
        ),
        (
            "--search.limits mmacs=5",
            [
                "are of what the search minimises, error, latency_ms, got mmacs=",
                "search.constraints",
            ],
        ),
        (
            "--search.algorithm nsga2:neighbours=3",
            ["unknown setting 'neighbours' of nsga2; known: crossover, mutation, avoid_dup"],
        ),
        (
            "--search.algorithm nsga2:mutation=0.1 --search.mutation 0.2",
            ["search.mutation 0.2 is not read with search.algorithm 'nsga2:mutation=0.1'"],
        ),
        (
            "--search.algorithm nsga2:PSO",
            ["unknown algorithm 'nsga2:PSO'; known: bayesian, elitist"],
        ),
        (
            "--search.limits latency_ms=fast",
            ["search.limits must be NAME=NUMBER", "got latency_ms=fast"],
        ),
        (
            "--search.limits latency_ms=-1",
            ["search.limits must be NAME=NUMBER, a number above 0, got latency_ms=-1"],
        ),
        (
            "--search.limits latency_ms=5 --latency-limit-ms 4",
            ["search.limits", "two limits of latency_ms"],
        ),
        (
            "--search.constraints error=0.1",
            ["search.constraints", "write search.limits error=0.1, or take error out of"],
        ),
        ("--search.constraints macs=1", ["unknown constraint 'macs'", "mmacs, mparams"]),
        (
            "--search.constraints mmacs=1 --search.look-ups 15",
            ["give up search.constraints mmacs=1, or the look-ups"],
        ),
        (
            "--search.formulation weighted_sum:weights=1,2,3",
            ["weights of weighted_sum must be 2, one for each objective, got 3"],
        ),
        ("--search.formulation sum", ["unknown formulation 'sum'", "weighted_sum"]),
        (
            "--search.formulation weighted_sum:weights=1,2 --search.algorithm moead",
            ["objectives of MOEA/D must be at least 2, got 1"],
        ),
        ("--device worst:raptor", ["of two devices or more", "worst:raptor_small,hailo8l_model"]),
        (
            "--profile.device tpu",
            [
                (
                    "unknown device 'tpu'; known: hailo8l, hailo8l_model, hailo8l_model:single, "
                    "hermes, hermes_one, onnxruntime, openvino, pcm, raptor, raptor_small, reram, "
                    "ssh:HOST, worst:NAME,NAME, the path of a .toml file that describes one, "
                )
            ],
        ),
        ("--device rapter", ["unknown device 'rapter'", "; did you mean raptor?"]),
        (
            "--profile.device hailo8l_model:whole",
            [
                (
                    "unknown device 'hailo8l_model:whole'; known: hailo8l, hailo8l_model, "
                    "hailo8l_model:single"
                )
            ],
        ),
        ("--profile.threads 0", ["profile.threads must be at least 1, got 0"]),
        ("--profile.rounds 0", ["profile.rounds must be at least 1, got 0"]),
        ("--profile.validation 1", ["profile.validation must be at least 2, got 1"]),
        ("--profile.train 200", ["206 subnets", "128"]),
        ("--search.population 1", ["search.population must be at least 2, got 1"]),
        ("--search.generations 0", ["search.generations must be at least 1, got 0"]),
        ("--search.crossover 2", ["search.crossover must be at most 1, got 2"]),
        ("--search.images 0", ["search.images must be at least 1"]),
        ("--train.epochs -1", ["train.epochs must be at least 0, got -1"]),
        ("--train.checkpoint-every 0", ["train.checkpoint_every must be at least 1"]),
        (
            "--train.batch-size 5000",
            ["train.batch_size must be at most the 1338 training images, got 5000"],
        ),
        (
            "--train.method pareto_rank --train.pareto.held-out 0.01",
            ["at most the 13 training images of the smaller part", "holds 13 of 1338 out"],
        ),
        (
            "--train.method pareto_rank --train.pareto.group 1",
            ["train.pareto.group must be at least 2, got 1"],
        ),
        (
            "--train.method pareto_rank --train.pareto.weight -1",
            ["train.pareto.weight must be at least 0, got -1"],
        ),
        (
            "--train.method pareto_rank --train.pareto.cost watts",
            ["unknown expected cost 'watts'; known: energy_uj, latency_ms, mmacs, mparams"],
        ),
        (
            "--finetune.batch-size 5000",
            ["finetune.batch_size must be at most the 1338 training images"],
        ),
        ("--data.augmentation.crop 16", ["data.augmentation.crop must be", "got 16"]),
        ("--data.search-images 900", ["data.search_images must be"]),
        (
            "--search.algorithm evosax:PGPE --search.population 3",
            ["evosax's PGPE refuses a population of 3"],
        ),
        ("--latency-limit-ms 0", ["latency_limit_ms must be above 0"]),
        ("--latency-limit-ms nan", ["latency_limit_ms must be above 0"]),
        ("--data.source npz:missing.npz", ["npz:missing.npz: no such file"]),
        ("--data.source tfds:cifar10 --data-dir missing", ["tfds:cifar10", "missing"]),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    cli, micro, tmp_path, overrides, parts
):
    refused(cli("run", micro, *overrides.split()), *parts)
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    "change, part",
    [
        (
            {"train_labels": np.arange(-1, 9)},
            "labels are -1..8, 10 different ones: number the classes from 0",
        ),
        ({"train_images": np.zeros((10, 8, 8), np.float32)}, "images must be uint8"),
        (
            {"test_images": np.zeros((10, 9, 9), np.uint8)},
            "images must have the shape of those of train",
        ),
        (
            {"val_images": np.zeros((0, 8, 8), np.uint8), "val_labels": np.zeros(0, np.int64)},
            "every split needs some",
        ),
    ],
)
def test_wrong_data_are_refused_before_anything_is_written(cli, micro, tmp_path, change, part):
    arrays = {
        f"{split}_images": np.zeros((10, 8, 8), np.uint8) for split in ("train", "val", "test")
    }
    arrays |= {f"{split}_labels": np.arange(10) % 4 for split in ("train", "val", "test")}
    np.savez(tmp_path / "data.npz", **(arrays | change))
    refused(cli("run", micro, "--data.source", f"npz:{tmp_path}/data.npz"), part)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_device_that_is_not_there_is_found_before_the_training(cli, micro, tmp_path, monkeypatch):
    for name in ("ssh", "scp"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'ssh: no route to host' >&2\nexit 255\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    out = tmp_path / "run"
    code, errors = cli("run", micro, "--out", out, "--device", "ssh:pi")
    assert code == 2 and not out.exists()
    assert (
        "the device ssh:pi cannot measure (ConnectionError: cannot reach pi: ssh: no route to "
        "host): `ssh pi` must"
    ) in errors[-1]
    # Which measures nothing.
    assert cli("data", micro, "--out", out, "--profile.device", "ssh:pi")[0] == 0


def test_a_run_goes_into_runs_and_its_name_by_default(cli, micro, tmp_path):
    code, lines = cli("data", micro, "--name", "mine")
    assert code == 0 and lines[0].startswith(
        "data: digits, 10 classes, 16x16x1; images: 1338 train, 50 search, 50 selection, 359 test"
    )
    files = {path.name for path in (tmp_path / "here/runs/mine").iterdir()}
    assert files == {
        ".lock",
        "config.json",
        "inputs.json",
        "data.json",
        "environment.json",
        "metrics.jsonl",
        "space.json",
    }
    assert cli("data", micro, "--name", "mine") == (0, ["data: done before"])


# Runs that exist


def test_other_settings_are_refused_by_name(cli, micro, tmp_path):
    cli("data", micro, "--out", tmp_path / "run")
    before = (tmp_path / "run/config.json").read_bytes()
    refused(
        cli(
            "data",
            micro,
            "--out",
            tmp_path / "run",
            "--train.epochs",
            3,
            "--data.search-images",
            50,
        ),
        "train.epochs 1 -> 3",
        "100 -> 50",
    )
    assert (tmp_path / "run/config.json").read_bytes() == before


def test_a_second_process_is_refused(cli, micro, tmp_path):
    with RunDirectory(tmp_path / "run"):
        refused(cli("data", micro, "--out", tmp_path / "run"), "is in use by another process")
    assert cli("data", micro, "--out", tmp_path / "run")[0] == 0


def test_other_images_are_refused(cli, micro, tmp_path):
    cli("data", micro, "--out", tmp_path / "run")
    data = json.loads((tmp_path / "run/data.json").read_text())
    (tmp_path / "run/data.json").write_text(json.dumps({**data, "fingerprint": "other"}))
    refused(
        cli("train", micro, "--out", tmp_path / "run"),
        "the images of digits are not those",
        "--out",
    )


def test_a_run_directory_stands_for_its_experiment(cli, run_copy):
    (run_copy / "report.html").unlink()
    code, lines = cli("report", run_copy)
    assert code == 0 and lines == [f"report: {run_copy}/report.html"]
    assert (run_copy / "report.html").stat().st_size > 10_000
    code, lines = cli("report", run_copy, "--watch", "--figures")
    assert code == 0 and lines[0].endswith("verify done")  # there is nothing to wait for
    assert lines[-1] == f"report: figures as SVG, PDF and PNG: {run_copy}/figures"
    assert (run_copy / "figures/pareto-latency_ms.pdf").read_bytes().startswith(b"%PDF")


def test_the_settings_of_a_run_directory_are_those_of_its_experiment(cli, finished_run, micro):
    assert load_config(str(finished_run)) == load_config(str(micro))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"name": "x", "train": 5}',
        '{"name": "x", "sead": 1}',
        '{"name": "x", "train": {"epoch": 1}}',
    ],
)
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="no run directory that can be taken up"):
        load_config(str(tmp_path))


def test_ctrl_c_is_one_line_and_130(cli, micro, monkeypatch):
    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "data", interrupted)
    assert cli("run", micro) == (130, ["jaxnas: interrupted; the same command goes on from here"])


def test_libraries_are_silent(finished_run):
    """What a whole run shows is its own lines, and nothing else.

    The first one on a machine also says that it built kernels.
    """
    stages = {
        "data:",
        "train",
        "profile",
        "predict:",
        "search:",
        "finetune",
        "finetune:",
        "export:",
        "verify:",
        "report:",
    }
    words = {*stages, "nsga2", "random", "rank"}
    lines = (finished_run / "stderr.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines if "built fast convolutions" not in line} == words


# Without JAX, before JAX, and of other people's files


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_load_no_jax(arguments):
    program = (
        "import sys; from jaxnas.cli import main\n"
        f"try: main({arguments})\n"
        f"finally: print(sorted({{'jax', 'numpy'}} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stdout.splitlines()[-1] == "[]" and process.stdout.startswith(
        ("usage: jaxnas", f"jaxnas {version('jaxnas')}")
    )


def test_a_disk_that_is_full_of_what_is_printed_is_one_line(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert told(lambda: print("a table") or 0) == 2
    assert capsys.readouterr().err == (
        "jaxnas: cannot print: No space left on device; free some space, then run the same "
        "command again\n"
    )


@pytest.mark.parametrize(
    "variable, value, said",
    [
        (
            "JAX_PLATFORMS",
            "nonesuch",
            "JAX finds no platform nonesuch: unset JAX_PLATFORMS, or run `pip install -e '.[gpu]'`",
        ),
        (
            "JAX_ENABLE_X64",
            "maybe",
            (
                "JAX cannot start (invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'): "
                "mend or unset"
            ),
        ),
    ],
)
def test_a_variable_that_jax_cannot_obey_is_one_line(micro, tmp_path, variable, value, said):
    command = [
        sys.executable,
        "-m",
        "jaxnas.cli",
        "data",
        str(micro),
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.run(
        command, env=os.environ | {variable: value}, capture_output=True, text=True
    )
    assert process.returncode == 2 and not (tmp_path / "run").exists()
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"jaxnas: {said}")


@pytest.mark.slow
def test_a_run_in_another_locale_is_taken_up(micro, tmp_path):
    """Python without UTF-8 as its default: what one command writes the next one reads."""
    command = [sys.executable, "-X", "utf8=0", "-m", "jaxnas.cli", "data"]
    environment = os.environ | {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    (tmp_path / "other.py").write_text(
        micro.read_text().replace('name="micro"', 'name="größe"'), encoding="utf-8"
    )
    for experiment in (["other.py", "--out", "run", "--space", "tiny"], ["run"]):
        process = subprocess.run(
            command + experiment, env=environment, cwd=tmp_path, capture_output=True
        )
        assert process.returncode == 0, process.stderr
    assert json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))["name"] == "größe"


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["data", "x" * 5000], "an experiment must be a path, got 'xxx"),
        (["data", "a\0b.py"], "an experiment must be a path"),
        (["data", "micro.py", "--out", ""], "--out must be a path, got '' (it is empty)"),
        (
            ["data", "micro.py", "--out", "a\0b"],
            "--out must be a path, got 'a\\x00b' (it holds a NUL)",
        ),
        (
            ["data", "micro.py", "--out", "\udcff"],
            "--out must be a path, got '\\udcff' (it is not UTF-8)",
        ),
        (["data", "micro.py", "--out", "y/" * 2500], "(File name too long)"),
        (["run", "micro.py", "--until", "٣%"], "--until must be a percentage"),
        (["data", "micro.py", "--name", "../../x"], "name must be the name of a folder in runs"),
        (["data", "micro.py", "--name", ""], "name must be the name of a folder in runs"),
        (["data", "micro.py", "--name", "a\nb"], "name must be the name of a folder in runs"),
        (
            ["data", "micro.py", "--data.source", "npz:\udcff.npz"],
            "data.source must be text in UTF-8",
        ),
        (["data", "micro.py", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["data", "micro.py", "--seed", str(2**32)], "seed must be at most 4294967295"),
        (
            ["data", "micro.py", "--search.population", "1000000", "--search.generations", "11"],
            "must be at most 10000000, got 1000000 x 11",
        ),
        (["inspect", "9999999999999"], "a genome is smallest, largest, or "),
        (
            ["inspect", "largest", "--classes", "9" * 20],
            "--classes: must be a whole number from 1 to 100000",
        ),
        (
            ["inspect", "largest", "--resolution", "0"],
            "--resolution: must be a whole number from 1 to 8192",
        ),
        (["scale", "mobilenet_v2", "--limit-ms", "nan"], "--limit-ms: must be a number above 0"),
        (
            ["compare", "micro.py", "--seeds", "999999999999"],
            "--seeds: must be a whole number from 1 to 10000",
        ),
    ],
)
def test_names_and_numbers_that_nobody_can_use(cli, micro, tmp_path, arguments, part):
    shutil.copy(micro, "micro.py")
    refused(cli(*arguments), part)
    assert [path.name for path in (tmp_path / "here").iterdir() if path.name != "__pycache__"] == [
        "micro.py"
    ]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "text, part",
    [
        ("import sys; sys.exit(0)", "does not run: SystemExit: 0"),
        ("import sys; sys.exit(3)", "does not run: SystemExit: 3"),
        ("class E(BaseException): pass\nraise E()", "does not run: E:"),
        (
            "from jaxnas.config import Config\nclass C(Config): pass\nconfig = C(name='x')",
            "a jaxnas.config.Config, got C",
        ),
    ],
)
def test_an_experiment_that_does_something_else_is_refused(cli, tmp_path, text, part):
    (tmp_path / "other.py").write_text(text)
    refused(cli("data", tmp_path / "other.py"), part)


def test_every_setting_has_a_sentence():
    for kind in _parts(Config):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # pyright: ignore[reportAttributeAccessIssue]
        for node, after in pairwise([*body, ast.Pass()]):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
                nested = is_dataclass(get_type_hints(kind)[node.target.id])
                assert nested or text.rstrip().endswith("."), f"{kind.__name__}.{node.target.id}"


def _parts(kind):
    yield kind
    for nested in get_type_hints(kind).values():
        if is_dataclass(nested):
            yield from _parts(nested)


def test_the_command_computes_in_32_bits_whatever_the_environment_asks_of_jax():
    """Else a run that another shell takes up would be another one in its last digits."""
    jax.config.update("jax_enable_x64", True)
    try:
        starting.start_jax()
        assert jnp.asarray(1.0).dtype == jnp.float32
    finally:
        jax.config.update("jax_enable_x64", False)
