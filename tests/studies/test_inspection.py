"""`jaxnas inspect` and `jaxnas scale`: tables that add up, pictures.

And one line for every mistake.
"""

import re

import numpy as np
import pytest

from jaxnas.cli import main
from jaxnas.config import SPACES
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.report import chip_plots
from jaxnas.spaces.mobilenet_v2 import mobilenet_v2, uniform
from jaxnas.spaces.published import tiny
from jaxnas.studies.inspection import account, genome_of
from jaxnas.studies.width_scaling import every_network


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command line in an empty folder; its exit code, and the lines of both streams."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return command


def test_blocks_add_up_to_the_network():
    space = mobilenet_v2(multipliers=uniform(1.0))
    blocks, whole = account(RAPTOR, space, space.largest)
    assert [blocks[0].name, blocks[1].name, blocks[-2].name, blocks[-1].name] == [
        "first_conv",
        "mb1/block0",
        "last_conv",
        "classifier",
    ]
    assert len(blocks) == 1 + 17 + 2
    np.testing.assert_allclose(
        sum(block.npu_cycles for block in blocks), whole.figures["npu_cycles"], rtol=1e-5
    )
    np.testing.assert_allclose(
        sum(block.system_cycles for block in blocks), whole.figures["system_cycles"], rtol=1e-5
    )
    assert sum(block.macs for block in blocks) == pytest.approx(300.774272)


def test_weights_are_late_and_activations_early_as_published():
    """Figure 1 of the paper.

    Most weights in the last six blocks, whose activations are a quarter or less; 1280 x 320 does
    not fit.
    """
    space = mobilenet_v2(multipliers=uniform(1.0))
    blocks, _ = account(RAPTOR, space, space.largest)
    body = blocks[:-1]
    weights = np.array([block.weight_bytes for block in body])
    assert weights[-6:].sum() > 0.5 * weights.sum()
    assert min(block.activation_bytes for block in body[1:5]) > 4 * max(
        block.activation_bytes for block in body[-4:]
    )
    assert body[-1].spills == ("expand",)


def test_inspect_prints_and_draws(command):
    code, lines, _ = command("inspect", "largest", "--device", "raptor")
    assert code == 0
    assert lines[0].startswith("mobilenet_v2 at 224 pixels on raptor (simulated TinyRAPTOR")
    assert sum(bool(re.match(r"mb\d/block\d ", line)) for line in lines) == 17
    assert lines[-1] == "mobilenet_v2_1_224_raptor.svg"
    assert "316.2 M operations, mu 0.110, 459.8 ms, 4699 uJ" in lines[-3]


def test_inspect_another_space_and_resolution(command, tmp_path):
    options = (
        "--space",
        "raptor_cifar",
        "--resolution",
        "28",
        "--classes",
        "10",
        "--device",
        "raptor_small",
        "--out",
        "a.svg",
    )
    code, lines, _ = command("inspect", "smallest", *options)
    assert code == 0 and lines[0].startswith(
        "raptor_cifar at 28 pixels on raptor_small (no machine at all"
    )
    assert (tmp_path / "a.svg").read_text().count("<svg") == 1


def test_scale_prints_the_front(command):
    code, lines, _ = command(
        "scale", "mobilenet_v2:0.5", "--resolution", "160", "--out", "front.svg"
    )
    assert code == 0 and lines[0].startswith("1 networks of mobilenet_v2 at 160 pixels")
    assert re.match(r" +54\.5 +0\.117 +84\.9  2 0 0", lines[5]) and lines[-1] == "front.svg"


def test_scale_draws_apart_what_the_limit_excludes(command, monkeypatch):
    """Every network is on one side of the limit, and the front with those within."""
    drawn = []
    draw = chip_plots.efficiency
    monkeypatch.setattr(chip_plots, "efficiency", lambda *a: drawn.append(a) or draw(*a))
    space = mobilenet_v2(multipliers=((0.3, 0.6, 1.0),) * 2 + uniform(1.0)[2:])
    grid = every_network(space, RAPTOR, 96)
    limit_ms = float(np.median(grid.latency_ms))
    monkeypatch.setitem(SPACES, "widths", lambda *_: space)
    assert command("scale", "widths", "--resolution", "96", "--limit-ms", str(limit_ms))[0] == 0
    within, front, _, title, slower = drawn.pop()
    assert title.endswith(f"at most {limit_ms:g} ms") and slower is not None
    fast = grid.latency_ms <= limit_ms
    np.testing.assert_array_equal(within, grid.points[fast, :2])
    np.testing.assert_array_equal(slower, grid.points[~fast, :2])
    assert (front[:, 2] <= limit_ms).all()
    assert command("scale", "widths", "--resolution", "96")[0] == 0
    assert drawn.pop()[-1] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("inspect", "largest", "--device", "hailo8l_model"),
            "hailo8l_model gives no account layer by layer",
        ),
        (("inspect", "large"), "a genome is smallest, largest, or 31 numbers"),
        (("inspect", "0 1 2"), "a genome of mobilenet_v2 has"),
        (
            ("inspect", "largest", "--resolution", "100"),
            "mobilenet_v2 has the resolutions 96, 128, 160, 192, 224, got 100",
        ),
        (("inspect", "largest", "--depth", "3"), "unknown option --depth"),
        (("inspect", "largest", "--out", "no/where.svg"), "cannot write no/where.svg"),
        (
            ("scale", "mobilenet_v2:0.5", "--limit-ms", "1"),
            "no network of mobilenet_v2 is as fast as 1 ms: the fastest takes 84.9 ms",
        ),
        (("scale", "raptor"), "too many to try them all"),
    ],
)
def test_a_mistake_is_one_line(command, arguments, message):
    code, _, errors = command(*arguments)
    assert code == 2 and len(errors) == 1 and message in errors[0]


def test_a_genome_is_written_as_in_a_report():
    space = tiny()
    text = " ".join(map(str, space.largest))
    assert (
        genome_of(space, text).tolist()
        == genome_of(space, text.replace(" ", ", ")).tolist()
        == space.largest.tolist()
    )
