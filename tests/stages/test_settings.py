"""What a run is, and what it is not: the place of its files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxnas.config import Config, ProfileConfig
from jaxnas.stages.settings import _device, located

SPACE = """\
first_widths = [8]
first_stride = 2
last_widths = [16, 32]
stages = [
    {widths = [8, 16], depths = [1], kernels = [3, 5], expands = [2], stride = 2},
    {widths = [16, 24], depths = [1, 2], kernels = [3], expands = [2, 3], stride = 2},
]
"""


@pytest.fixture
def inputs(tmp_path, chip) -> Path:
    """A folder with images, a space and a chip."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    arrays = {
        f"{split}_images": np.arange(80 * 64, dtype=np.uint8).reshape(80, 8, 8)
        for split in ("train", "val", "test")
    }
    arrays |= {f"{split}_labels": np.arange(80) % 4 for split in ("train", "val", "test")}
    np.savez(folder / "images.npz", allow_pickle=False, **arrays)
    (folder / "own.toml").write_text(SPACE)
    (folder / "chip.toml").write_text(chip)
    return folder


def named(folder: str | Path) -> list[str]:
    """The settings that name the files of a folder."""
    source = f"npz:{folder}/images.npz" if folder else "npz:images.npz"
    at = f"{folder}/" if folder else ""
    return [
        "--data.source",
        source,
        "--space",
        f"{at}own.toml",
        "--profile.device",
        f"{at}chip.toml",
    ]


def test_a_run_is_taken_up_wherever_it_and_its_files_lie(cli, micro, inputs, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.chdir(inputs)
    assert cli("data", micro, "--out", run, *named(""))[0] == 0
    assert json.loads((run / "config.json").read_text())["space"] == "own.toml"
    monkeypatch.chdir("/")
    assert cli("data", run) == (0, ["data: done before"])  # by the folder where it began
    elsewhere = tmp_path / "elsewhere"
    moved = tmp_path / "moved"
    shutil.move(inputs, elsewhere)
    shutil.move(run, moved)
    code, lines = cli("data", moved)
    assert code == 2 and "cannot read the device chip.toml" in lines[-1]
    assert cli("data", moved, *named(elsewhere)) == (0, ["data: done before"])
    assert cli("data", moved) == (0, ["data: done before"])  # the new places are known now
    code, lines = cli("data", moved, "--data.source", "npz:~nobody-of-this-name/images.npz")
    assert code == 2 and len(lines) == 1


@pytest.mark.parametrize(
    "file, change, part",
    [
        ("own.toml", lambda text: "# the same\n" + text, None),
        (
            "own.toml",
            lambda text: text.replace("expands = [2, 3]", "expands = [2, 4]"),
            "stages.mb2.expands [2, 3] -> [2, 4]",
        ),
        ("chip.toml", lambda text: "# the same\n" + text, None),
        (
            "chip.toml",
            lambda text: text.replace("clock_mhz = 1", "clock_mhz = 2"),
            'profile.device "chip.toml", which holds something else',
        ),
    ],
)
def test_what_a_file_says_counts(cli, micro, inputs, tmp_path, monkeypatch, file, change, part):
    monkeypatch.chdir(inputs)
    settings = ["--out", tmp_path / "run", *named("")]
    assert cli("data", micro, *settings)[0] == 0
    before = (tmp_path / "run/config.json").read_bytes()
    (inputs / file).write_text(change((inputs / file).read_text()))
    code, lines = cli("data", micro, *settings)
    assert (code, len(lines)) == ((2, 1) if part else (0, 1)) and (part or "done before") in lines[
        0
    ]
    assert (tmp_path / "run/config.json").read_bytes() == before


def test_the_report_needs_the_runs_files_alone(cli, run_copy, monkeypatch):
    config = json.loads((run_copy / "config.json").read_text())
    gone = {
        "space": "gone.toml",
        "weights": "gone.npz",
        "data": config["data"] | {"source": "npz:gone.npz"},
    }
    gone |= {"profile": config["profile"] | {"device": "gone.toml"}}
    (run_copy / "config.json").write_text(json.dumps(config | gone))
    (run_copy / "report.html").unlink()
    monkeypatch.chdir("/")
    assert cli("report", run_copy)[0] == 0
    assert (run_copy / "report.html").exists()


def test_a_run_older_than_a_setting_has_its_default(cli, micro, run_copy):
    config = json.loads((run_copy / "config.json").read_text())
    del config["search"]["look_ups"], config["train"]["precision"]
    (run_copy / "config.json").write_text(json.dumps(config))
    (run_copy / "inputs.json").unlink()
    assert cli("predict", micro, "--out", run_copy) == (0, ["predict: done before"])
    code, lines = cli("predict", micro, "--out", run_copy, "--search.look-ups", 3)
    assert code == 2 and "search.look_ups 0 -> 3" in lines[0]


@pytest.mark.parametrize(
    "change, keeps", [("--search.generations 9", True), ("--train.epochs 9", False)]
)
def test_the_refusal_says_how_to_keep_the_training(cli, micro, run_copy, change, keeps):
    code, (line,) = cli("predict", micro, "--out", run_copy, *change.split())
    assert code == 2
    new_run = f"--out NEW --weights {run_copy}/supernet.safetensors --train.epochs 0"
    for advice in ("`jaxnas run` does again", new_run):
        assert (advice in line) == keeps


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "null", '{"name": "x", "train": 5}'])
def test_damaged_settings_are_named(cli, micro, run_copy, text):
    (run_copy / "config.json").write_text(text)
    code, (line,) = cli("report", micro, "--out", run_copy)
    assert code == 2 and "corrupt" in line and "config.json" in line


def test_a_device_that_differs_is_named_beside_the_settings_that_it_leaves_unread(
    cli, micro, tmp_path
):
    run = tmp_path / "a run"
    assert cli("data", micro, "--out", run)[0] == 0
    code, (line,) = cli("data", run, "--profile.device", "raptor")
    assert (
        code == 2
        and 'profile.device "onnxruntime" -> "raptor", profile.seconds 0.001 -> 0.1' in line
    )
    for name in ("supernet.npz", "supernet.safetensors"):  # of an older run
        (run / name).touch()
        code, (line,) = cli("data", run, "--finetune.epochs", "3")
        assert code == 2 and f"--weights '{run}/{name}' --train.epochs 0" in line


@pytest.mark.parametrize("text", ['{"my": 1}', "null"])
def test_another_programs_config_is_no_run(cli, micro, tmp_path, text):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text(text)
    code, lines = cli("data", micro, "--out", foreign)
    assert (
        code == 2
        and len(lines) == 1
        and "holds no settings of jaxnas" in lines[0]
        and lines[0].endswith("use another --out")
    )
    assert (foreign / "config.json").read_text() == text and [
        path.name for path in foreign.iterdir()
    ] == ["config.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "5",
        '{"folder": 5}',
        '{"folder": "", "weights": null, "device": "x"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_inputs_file_is_named(cli, micro, run_copy, text):
    (run_copy / "inputs.json").write_text(text)
    for arguments in (["data", run_copy], ["data", micro, "--out", run_copy]):
        code, lines = cli(*arguments)
        assert code == 2 and len(lines) == 1 and f"corrupt: {run_copy}/inputs.json" in lines[0]


def test_a_worst_case_is_known_by_what_its_files_hold(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    config = Config("x", profile=ProfileConfig("worst:raptor,chip.toml"))
    moved = inputs.parent / "moved"
    inputs.rename(moved)
    monkeypatch.chdir(moved.parent)
    there = located(config, moved)
    assert there.profile.device == f"worst:raptor,{moved}/chip.toml"
    before = _device(there)
    assert before.startswith("raptor,") and "chip" not in before
    (moved / "chip.toml").write_text((moved / "chip.toml").read_text().replace("= 1000", "= 999"))
    assert _device(there) != before
