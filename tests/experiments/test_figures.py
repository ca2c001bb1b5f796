"""What benches share: rounds, medians, bars."""

import json

import pytest


@pytest.fixture(scope="module")
def figures(bench_module):
    return bench_module("figures")


@pytest.fixture
def report(figures):
    """Made-up figures: a ratio of median 3.1, and a speed."""
    report = figures.Report(
        "made-up", {"device": "abacus"}, bars=[figures.Bar("ratio", 3.0), figures.Bar("speed", 5e6)]
    )
    report.add("ratio", "x", 3.1, 2.0, 9.0)
    report.add("speed", "architectures/s", 6e6)
    return report


def test_bars_met_exit_with_0(report):
    assert report.exit_code() == 0
    assert "met     ratio: at least 3, got 3.1" in report.text()
    assert "MISSED" not in report.text()


@pytest.mark.parametrize("name, least", [("ratio", 3.2), ("speed", 6.1e6), ("never measured", 0.0)])
def test_one_bar_missed_exits_with_1(figures, report, name, least):
    worse = figures.Report(
        report.bench, report.notes, report.figures, [*report.bars, figures.Bar(name, least)]
    )
    assert worse.exit_code() == 1
    (line,) = [line for line in worse.text().splitlines() if line.startswith("MISSED")]
    assert name in line and ("not measured" in line) == (name == "never measured")


def test_not_a_number_misses_its_bar(figures):
    report = figures.Report("made-up", {}, bars=[figures.Bar("ratio", 0.0)])
    report.add("ratio", "x", float("nan"))
    assert report.exit_code() == 1


def test_text_shows_median_and_spread(report):
    assert "3.1 x (2 to 9)" in " ".join(report.text().split())
    assert "6,000,000 architectures/s" in report.text()


def test_json_says_the_same(report):
    found = json.loads(report.json())
    assert (
        found["bench"] == "made-up"
        and found["notes"] == {"device": "abacus"}
        and found["environment"]["python"]
    )
    ratio, speed = found["figures"]
    assert ratio == {
        "name": "ratio",
        "unit": "x",
        "rounds": [3.1, 2.0, 9.0],
        "median": 3.1,
        "least": 2.0,
        "most": 9.0,
    }
    assert speed["median"] == 6e6
    assert found["bars"][0] == {"figure": "ratio", "at_least": 3.0, "median": 3.1, "met": True}


def test_contenders_take_turns(figures, monkeypatch):
    clock = [0.0]
    order = []

    def contender(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds
            return f"{name}{len(order)}"

        return figures.Contender(name, run)

    monkeypatch.setattr(figures, "perf_counter", lambda: clock[0])
    seconds, found = figures.race(
        "race", [contender("a", 1.0), contender("b", 2.0), contender("c", 4.0)], rounds=3
    )
    assert seconds == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [4.0] * 3}
    assert order == list("abcbcacab")
    assert found == {"c": "c7", "a": "a8", "b": "b9"}
