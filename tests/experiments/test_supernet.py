"""The bench as a whole, on a space that compiles in seconds, and the command that starts it."""

import json
import sys

import pytest

from jaxnas import cli


@pytest.fixture(scope="module")
def bench(bench_module, small_mobilenet):
    """supernet.py, whose `--quick` is quicker still."""
    bench = bench_module("supernet")
    case = bench_module("supernet_case")
    sizes = case.Sizes(
        lambda size, *rest: small_mobilenet((12, size), *rest),
        16,
        6,
        32,
        64,
        batch=8,
        steps=1,
        architectures=16,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "QUICK", sizes)
        yield bench


@pytest.mark.slow
def test_the_whole_bench(bench, alone, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert bench.main(["--quick", "--rounds", "2", "--every", "2", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert figures[bench.DISTINCT]["median"] > 0.5
    for name in ("torch default", "torch best"):
        assert figures[bench.SAME.format(name)]["median"] == 1
        assert len(figures[f"evaluation: jaxnas / {name}"]["rounds"]) == 2
    assert {bar.figure for bar in bench.BARS["cpu"]} <= set(figures)
    assert "channels-last" in report["notes"]["torch best"]
    assert "subnets/s" in capsys.readouterr().out


def test_both_sides_compute_the_same_accuracies_and_other_weights_are_noticed(
    bench, bench_module, alone, peer
):
    case = bench_module("supernet_case").make_case(bench.QUICK, None)
    contenders = bench_module("supernet_contenders")
    rows = list(range(1, bench.QUICK.genomes, 2))
    ours = contenders.jaxnas_accuracies(case)(rows)
    assert len(set(ours)) > 1

    def most_images(case):
        return (
            abs(ours - contenders.torch_accuracies(case, peer, peer.Setting())(rows)).max()
            * bench.QUICK.evaluation
        )

    classifier = case.params["classifier"]
    assert most_images(case) < bench.TIES["cpu"] + 0.5
    assert (
        most_images(
            case._replace(
                params={
                    **case.params,
                    "classifier": {**classifier, "kernel": -classifier["kernel"]},
                }
            )
        )
        > 5
    )


def refused(code, capsys, *parts):
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and lines[-1].startswith("jaxnas: "), lines
    assert all(part in lines[-1] for part in parts), lines


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--rounds", "0"], ["--rounds"]),
        (["--every", "33"], ["--every", "1..32", "33"]),
        (["--json", "nowhere/figures.json"], ["nowhere", "directory"]),
        (["--images", "nowhere.npz"], ["nowhere.npz"]),
    ],
)
def test_mistakes_are_one_line(bench, peer, capsys, arguments, parts):
    refused(bench.main(arguments), capsys, *parts)


class NoTorch:
    """Importing torch fails as where it is not installed.

    None in sys.modules would also stop tyro, which looks for torch there.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_without_torch_says_what_to_install(bench, capsys, monkeypatch):
    for name in ("torch", "supernet_torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoTorch, *sys.meta_path])
    refused(bench.main(["--quick"]), capsys, "PyTorch", ".[bench]")


def test_an_unknown_bench_lists_the_known(capsys):
    refused(
        cli.main(["bench", "nothing"]), capsys, "one of generation, search, supernet", "'nothing'"
    )


def test_without_a_checkout_there_are_no_benches(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "BENCHES", tmp_path / "experiments" / "bench")
    refused(cli.main(["bench", "supernet"]), capsys, "checkout")


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_and_options_are_passed_on(code, capfd, monkeypatch, tmp_path):
    (tmp_path / "echo.py").write_text(
        f'import sys\nif __name__ == "__main__":\n    print(sys.argv[1:])\n    sys.exit({code})\n'
    )
    monkeypatch.setattr(cli, "BENCHES", tmp_path)
    assert cli.main(["bench", "echo", "--json", "out.json", "--quick"]) == code
    assert capfd.readouterr().out.splitlines() == ["['--json', 'out.json', '--quick']"]
