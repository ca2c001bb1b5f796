"""The pages as a reader meets them: in Chromium, at two widths, light and dark."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from jaxnas.config import Config
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.compare import write_comparison
from jaxnas.report.html import write_report
from jaxnas.spaces.published import tiny

CANDIDATES = 3000
GENERATIONS = 30
MEGABYTES = 3


def enlarge(run, space) -> None:
    """Give a run as many candidates as a long search has, all of them networks of a space."""
    draw = np.random.default_rng(0)
    genomes = draw.integers(0, space.sizes, (CANDIDATES, len(space.genes))).astype(np.int32)
    latency_ms = 0.05 + 0.5 * genomes[:, 1:].mean(axis=1) + draw.exponential(0.02, CANDIDATES)
    error = (
        0.02 + 0.02 / latency_ms + 0.04 * (genomes[:, 3] == 0) + draw.exponential(0.01, CANDIDATES)
    )
    fitness = np.stack([error, latency_ms], axis=1).astype(np.float32)
    generation = np.repeat(np.arange(GENERATIONS, dtype=np.int32), CANDIDATES // GENERATIONS)
    parents = np.full((CANDIDATES, 2), -1, np.int32)
    parents[100:] = draw.integers(0, 100, (CANDIDATES - 100, 2)) + 100 * (
        generation[100:, None] - 1
    )
    beside = {"generation": generation, "parents": parents, "seed": np.int32(0)}
    beside["objectives"] = np.array(["error", "latency_ms"])
    beside["network"] = np.arange(CANDIDATES, dtype=np.int32)
    np.savez(run.path("candidates.npz"), genomes=genomes, fitness=fitness, **beside)
    np.savez(run.path("random.npz"), genomes=genomes[::-1], fitness=fitness[::-1] * 1.1, **beside)
    chosen = run.read_json("chosen.json")
    for one, row in zip(chosen, (error.argmin(), latency_ms.argmin(), 7), strict=True):
        genome = genomes[row]
        one |= {"genome": genome.tolist(), "network": space.decode(genome)}
    run.path("chosen.json").write_text(json.dumps(chosen))


@pytest.fixture(scope="module")
def run(make_run, write_csv, tmp_path_factory):
    """Of a real space, whose settings can be read; A is shown to be more accurate than B."""
    run = make_run(tmp_path_factory.mktemp("big"), limit_ms=None)
    rows = run.read_csv("verified.csv")
    rows[0]["test_accuracy"] = str(395 / 397)
    write_csv(run.path("verified.csv"), rows)
    answers = run.read_npz("answers.npz")
    answers["float32"][0] = np.arange(397) >= 395
    np.savez(run.path("answers.npz"), **answers)
    config = json.dumps(asdict(Config("big", space="tiny")))
    run.path("config.json").write_text(config)
    enlarge(run, tiny(8, 1, 2))
    return run


@pytest.fixture(scope="module")
def page(run, browser) -> Path:
    return write_report(run)


@pytest.fixture
def shown(page, browser):
    browser.open(page)
    return browser


def text(browser, selector: str) -> str:
    return browser.evaluate(f"document.querySelector({selector!r}).textContent")


def centre(browser, expression: str) -> tuple[float, float]:
    """Where the middle of an element is, once it can be seen."""
    place = (
        f"(() => {{ const it = {expression}; it.scrollIntoView({{block: 'center'}});"
        " const box = it.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    return tuple(browser.evaluate(place))


def at_candidate(browser, row: int) -> tuple[float, float]:
    """Where a candidate stands on the screen."""
    centre(browser, "document.querySelector('[data-chart=pareto-latency_ms] svg')")
    return tuple(
        browser.evaluate(
            "(() => { const chart = charts['pareto-latency_ms'], found = DATA.explore.found;"
            " const box = chart.svg.getBoundingClientRect();"
            f" return [box.x + chart.x.at(found.costs.latency_ms[{row}]),"
            f" box.y + chart.y.at(100 * (1 - found.error[{row}]))]; }})()"
        )
    )


def test_a_page_of_thousands_is_small_and_asks_nobody(page, browser):
    assert page.stat().st_size < MEGABYTES * 1e6
    for dark in (False, True):
        browser.open(page, dark=dark)
        assert browser.complaints() == [] and browser.requests() == []


@pytest.mark.parametrize("width", [1400, 500])
def test_nothing_has_to_be_scrolled_sideways(page, browser, width):
    browser.open(page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelectorAll('.chart svg').length") >= 6


def test_a_hover_tells_genome_figures_and_origin(shown, run):
    arrays = run.read_npz("candidates.npz")
    row = int(arrays["fitness"][:, 1].argmin())
    shown.move(*at_candidate(shown, row))
    said = text(shown, ".tip")
    space = tiny(8, 1, 2)
    genome = space.decode(arrays["genomes"][row])
    assert f"Candidate {row}" in said
    assert f"{100 * (1 - arrays['fitness'][row, 0]):.1f} % of the search images" in said
    assert f"generation {arrays['generation'][row] + 1}, from candidate" in said
    widths = " ".join(str(value) for name, value in genome.items() if name.endswith("width"))
    assert f"widths {widths}" in said
    assert shown.evaluate("document.querySelector('.front .marked') !== null")
    shown.move(5, 5)
    assert shown.evaluate("document.querySelector('.tip').hidden")


def test_what_was_measured_stands_beside_what_was_predicted(shown):
    of_name = "[data-chart=pareto-latency_ms] [data-name^=chosen\\\\:\\\\ tested] line"
    spans = f"[...document.querySelectorAll('{of_name}')]"
    across = f"{spans}.filter((one) => one.getAttribute('y1') === one.getAttribute('y2')).length"
    assert shown.evaluate(across) == 3  # latencies; as many accuracies
    assert shown.evaluate(f"{spans}.length") == 6
    x, y = centre(shown, "document.querySelector('[data-chart=pareto-latency_ms] .disc')")
    shown.move(x, y)
    assert "test accuracy" in text(shown, ".tip") and "95 %" in text(shown, ".tip")


def slide(browser, share: float) -> None:
    browser.evaluate(
        "(() => { const slider = document.getElementById('budget');"
        f" slider.value = {share} * slider.max; slider.dispatchEvent(new Event('input')); }})()"
    )


def test_the_budget_decides_what_to_take(shown):
    assert text(shown, "#recommendation").startswith("Take A: 99.5 % test accuracy at 0.300 ms.")
    slide(shown, 0)
    assert text(shown, "#recommendation").startswith("None of the networks that were tested keeps")
    low, high = shown.evaluate("[explore.budget.low, explore.budget.high]")
    slide(shown, (0.25 - low) / (high - low))  # ms; B takes 0.2, A 0.3
    said = text(shown, "#recommendation")
    assert said.startswith("Take B: 91.9 % test accuracy at 0.200 ms.")
    assert "A is 7.6 percentage points more accurate and takes 0.300 ms, over the limit" in said
    assert "0.250 ms" in text(shown, "#budget-value")
    assert "jaxnas pick RUN --under 0.25" in text(shown, "#of-front")
    over = shown.evaluate("document.querySelectorAll('.front .over').length")
    assert 0 < over < shown.evaluate("document.querySelectorAll('.front tbody tr').length")


def column(browser, place: int) -> list[float]:
    cell = f"parseFloat(row.cells[{place}].textContent)"
    rows = "[...document.querySelectorAll('#front tbody tr')]"
    return browser.evaluate(f"{rows}.map((row) => {cell})")


def test_the_table_of_the_front_sorts_and_shows_where_its_networks_are(shown, run):
    latency_ms = column(shown, 2)
    assert len(latency_ms) > 5 and latency_ms == sorted(latency_ms)
    press = "document.querySelectorAll('#front .sorts')[1].click()"
    shown.evaluate(press)
    first = column(shown, 1)
    shown.evaluate(press)
    again = column(shown, 1)
    assert first == sorted(first) and again == first[::-1] != first
    assert (
        shown.evaluate("document.querySelectorAll('#front th')[1].getAttribute('aria-sort')")
        == "descending"
    )
    shown.evaluate("document.querySelector('#front tbody tr').focus()")
    assert shown.evaluate("charts['pareto-latency_ms'].spot !== null")


def test_the_csv_has_every_candidate_by_the_names_of_genes(shown, run):
    lines = shown.evaluate("csv(explore.found.error.map((_, row) => row))").split("\r\n")[:-1]
    space = tiny(8, 1, 2)
    arrays = run.read_npz("candidates.npz")
    assert lines[0].split(",")[3:] == [
        "generation",
        "parents",
        *(gene.name for gene in space.genes),
    ]
    assert len(lines) == CANDIDATES + 1
    row = lines[8].split(",")
    assert row[0] == "7" and float(row[1]) == pytest.approx(1 - arrays["fitness"][7, 0], abs=1e-5)
    assert list(map(int, row[5:])) == [*space.decode(arrays["genomes"][7]).values()]


def test_a_drag_zooms_and_a_double_click_goes_back(shown):
    x, y = centre(shown, "document.querySelector('[data-chart=pareto-latency_ms] .plot')")
    span = "(() => { const [a, b] = charts['pareto-latency_ms'].x.domain; return b - a; })()"
    whole = shown.evaluate(span)
    shown.drag((x - 100, y - 60), (x + 100, y + 60))
    assert shown.evaluate(span) < 0.5 * whole
    shown.evaluate("charts['pareto-latency_ms'].back.click()")
    assert shown.evaluate(span) == whole


def test_an_axis_of_the_parallel_plot_keeps_a_part(shown):
    x, y = centre(shown, "document.querySelectorAll('#parallel .plot')[0]")
    shown.drag((x, y - 20), (x, y - 120))
    said = text(shown, "#parallel .bar-tools")
    kept = int(said.split()[0])
    assert 0 < kept < CANDIDATES and f"of {CANDIDATES} candidates kept" in said


def test_figures_follow_the_scheme_of_the_reader(page, browser):
    style = "getComputedStyle(document.querySelector('.chart {}')).{}"
    seen = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        seen.append(
            [
                browser.evaluate(style.format("svg .title", "fill")),
                browser.evaluate(
                    "getComputedStyle(document.querySelector('.chart')).backgroundColor"
                ),
            ]
        )
    (ink, ground), (dark_ink, dark_ground) = seen
    assert ink != dark_ink and ground != dark_ground and ground == "rgb(255, 255, 255)"


# The page of a comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Three algorithms, of which two do not differ, beside a true front."""
    draw = np.random.default_rng(0)
    arrays = {
        "algorithms": np.array(["nsga2", "evolution", "random"]),
        "seed": np.arange(12),
        "objectives": np.array(["error", "latency_ms"]),
        "units": np.array(["%", "ms"]),
        "reference": np.array([1.5, 1.5]),
        "front": np.stack([np.linspace(0, 1, 50), 1 - np.linspace(0, 1, 50)], axis=1),
    }
    for name, spread in (("nsga2", 0.05), ("evolution", 0.05), ("random", 0.4)):
        along = draw.uniform(0, 1, (12, 60))
        beyond = draw.exponential(spread, (12, 60)) * np.linspace(3, 1, 60)
        fitness = np.stack([along + beyond, 1 - along + beyond], axis=-1)
        arrays[f"{name}_fitness"] = fitness.astype(np.float32)
        arrays[f"{name}_generation"] = np.tile(np.repeat(np.arange(6, dtype=np.int32), 10), (12, 1))
    run = RunDirectory(tmp_path_factory.mktemp("compared"))
    run.write_npz("compare/compare.npz", **arrays)
    write_comparison(run)
    return run.path("compare/compare.html")


@pytest.mark.parametrize("width", [1400, 500])
def test_a_comparison_asks_nobody_and_is_not_scrolled_sideways(compared, browser, width):
    browser.open(compared, width, dark=True)
    assert browser.complaints() == [] and browser.requests() == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_comparison_tells_ties_regret_and_ranks(compared, browser):
    browser.open(compared)
    assert "lead; no difference between them is shown." in text(browser, ".answer")
    assert browser.evaluate("charts.hypervolume.spec.y.log")
    words = text(browser, ".critical")
    assert "nsga2" in words and "3.00  random" in words
    x, y = browser.evaluate(
        "(() => { const chart = charts.hypervolume;"
        " const mark = chart.spec.marks.find((one) => one.type === 'line');"
        " chart.svg.scrollIntoView({block: 'center'});"
        " const box = chart.svg.getBoundingClientRect();"
        " return [box.x + chart.x.at(mark.x[3]), box.y + chart.y.at(mark.y[3])]; })()"
    )
    browser.move(x, y)
    assert "regret (%)" in text(browser, ".tip") and "40.00" in text(browser, ".tip")


def test_a_name_in_the_legend_hides_what_it_names(compared, browser):
    browser.open(compared)
    shown = "document.querySelectorAll('[data-chart=attainment] [data-name=random]').length"
    assert browser.evaluate(shown) == 2  # a band and a line
    browser.evaluate(
        "[...document.querySelectorAll('[data-chart=attainment] .series')]"
        ".find((one) => one.textContent === 'random').click()"
    )
    assert browser.evaluate(shown) == 0
