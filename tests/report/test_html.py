"""The report of a synthetic run: complete, self-contained, safe, and the same every time."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.files import RECORDS
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.claims import Claim, write_claims
from jaxnas.report.html import write_report
from jaxnas.studies.statistics import hypervolume_curve

HOSTILE = "<script>alert('x')</script> --> $\\frac{$ & \"quoted\""
VOID = {"meta", "br", "input"}
SVG = "http://www.w3.org/2000/svg"  # a name, which nothing asks for


def data_of(text: str) -> dict:
    """What the script of a page draws."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


class Page(HTMLParser):
    """Collects tags, ids and links, and checks that elements are closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name and value is not None]


@pytest.fixture(scope="module", params=["big", HOSTILE], ids=["plain", "hostile"])
def run(request, tmp_path_factory, make_run) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("run"), request.param)


def test_a_search_that_stopped_and_what_its_algorithm_says(tmp_path, make_run):
    run = make_run(tmp_path)
    arrays = run.read_npz("candidates.npz")
    predicted = np.full((10, 20, 2), np.nan, np.float32)
    predicted[3:] = arrays["fitness"].reshape(10, 20, 2)[3:] ** 2
    figures = {"reward": np.linspace(0, 1, 10), "predicted": predicted}
    config = json.loads((tmp_path / "config.json").read_text())
    with run:
        stopped = np.array("the hypervolume had not grown for 5")
        said = {f"figure_{name}": array for name, array in figures.items()}
        run.write_npz("candidates.npz", **arrays, **said, stopped=stopped)
        search = {"generations": 50, "formulation": "chebyshev:weights=1,2", "algorithm": "ppo"}
        train = {"method": "fairnas"}
        run.write_json("config.json", config | {"search": search, "train": train})
    text = write_report(run).read_text()
    assert "<code>chebyshev:weights=1,2</code>, and sought no front" in text
    assert "with one seed" not in text
    assert "The search (ppo): 200 candidates" in text and "trained by fairnas." in text
    page = Page(text)
    assert page.open == []
    assert page.values("data-chart") == [
        "pareto-latency_ms",
        "hypervolume",
        "curve-reward",
        "prediction-0",
        "prediction-1",
        "predictor",
        "training",
        "finetuning",
    ]
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert "stopped after generation 10 of 50: the hypervolume had not grown for 5." in text
    assert "error 1.00" in text and "predicted latency (ms) 1.00" in text  # squares keep the order


@pytest.fixture(scope="module")
def text(run) -> str:
    return write_report(run).read_text()


def test_the_page_is_well_formed_and_ids_are_unique(text):
    page = Page(text)
    assert page.open == []
    charts = ["pareto-latency_ms", "hypervolume", "predictor", "training", "finetuning"]
    assert page.values("data-chart") == charts
    assert set(charts) <= set(data_of(text)["charts"])
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert {
        link
        for link in page.values("xlink:href")
        if link.removeprefix("#") not in page.values("id")
    } == set()


def test_the_page_refers_to_nothing_outside(text):
    page = Page(text)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert page.values("src") == []
    text = text.replace(SVG, "")
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert all(
        link.startswith(("#", "models/"))
        for link in page.values("href") + page.values("xlink:href")
    )
    assert all(url.startswith("#") for url in re.findall(r"[^.\w]url\(([^)]*)", text))


def test_hostile_names_are_text(text):
    assert text.count("<script") == 2  # the data, and the one that the page's policy names
    (own,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert not any(name.startswith("on") for name, _ in Page(text).attributes)


@pytest.mark.parametrize(
    "part",
    [
        "Take B: 91.9 % test accuracy at 0.200 ms. A and C are not better within the noise.",
        (
            "93.2 % test accuracy at 0.300 ms measured</b>, 99 % of runs within 0.420 ms: most "
            "accurate on test"
        ),
        (
            "91.9 % test accuracy at 0.200 ms measured</b>, 99 % of runs within 0.280 ms: fastest "
            "measured"
        ),
        "dominated by B",
        "commonest class is right on 74.8 % of the test images",
        "The limit is 0.4 ms. Kept by the median of A, B and C, by 99 % of the runs of B and C.",
        "As int8, A, B and C take 2.00, 2.00 and 2.00 times as long as in float32.",
        (
            "2 in all, were right on 85.0 % of the images that the search ranked them on, and on "
            "82.0 % of the 200 held out"
        ),
        "optimistic by 3.0 percentage points",
        "The search: 200 candidates, 100 different networks",
        "more than random sampling, with one seed</b>",
        "resolution 8 | widths 8 8 8 8 8 8 8 | depths 8",
        "1.23 MMACs, 45.7 k parameters",
        "3.10e-06",
        "90.3 % to 95.3 %",
        "20 networks were measured, 60 times in all, of which 1 failed",
        "over 7.0 % of its latency (median)",
        "onnxruntime, 1 thread, onnxruntime 1.22",
        "97.0 %",
        "failed and are not shown: 1.",
        '<th scope="col" class="number">zero</th>',
        "297 (74.8 %)",
        "a computer",
        "33.3 %",
        "models/small.onnx",
    ],
)
def test_every_part_is_there(text, part):
    assert part in " ".join(text.split())


def test_what_the_data_left_out_is_said(text):
    assert "<p>4 of 60 pictures cannot be read: left out.</p>" in text


def test_the_words_are_those_of_the_field(text):
    words = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\b(wish|touched|sitting|front_1)\b", words)
    assert not re.search(r"(?<!percentage )\bpoints\b", words)


OLDER = (
    {"network"},
    {"selection", "class_sizes", "notes"},
    {"median_ms", "p99_ms", "noise_floor", "float32_median_ms", "int8_median_ms"},
)


def test_older_runs_open_and_say_what_they_lack(tmp_path, make_run, write_csv):
    run = make_run(tmp_path)
    arrays, data, columns = OLDER
    for file in ("candidates.npz", "random.npz"):
        run.write_npz(
            file, **{name: some for name, some in run.read_npz(file).items() if name not in arrays}
        )
    for file in ("answers.npz", "selection.npz"):
        (tmp_path / file).unlink()
    (tmp_path / "data.json").write_text(
        json.dumps(
            {name: one for name, one in run.read_json("data.json").items() if name not in data}
        )
    )
    rows = run.read_csv("verified.csv")
    write_csv(
        run.path("verified.csv"),
        [{name: cell for name, cell in row.items() if name not in columns} for row in rows],
    )
    text = " ".join(write_report(run).read_text().split())
    assert (
        "This run held no images out for the choice" in text
        and "all that this older run recorded" in text
    )
    assert "Kept by the fastest run of A, B and C." in text and "commonest class" not in text
    assert "A and C are not better within the noise" in text  # by intervals, without answers


def test_without_a_network_that_knows_more_than_the_commonest_class_none_is_recommended(
    tmp_path, make_run
):
    run = make_run(tmp_path)
    sizes = run.read_json("data.json")
    sizes["class_sizes"]["test"] = [380, 17]
    sizes["class_sizes"]["search"] = [199, 1]
    (tmp_path / "data.json").write_text(json.dumps(sizes))
    for file in ("candidates.npz", "random.npz"):
        arrays = run.read_npz(file)
        arrays["fitness"][:, 0] = np.where(
            np.isnan(arrays["fitness"][:, 0]), np.nan, np.float32(0.005)
        )
        run.write_npz(file, **arrays)
    text = " ".join(write_report(run).read_text().split())
    assert (
        "Take" not in text
        and (
            "None is shown to know more than the commonest class: always answering that is right "
            "on 95.7 %"
        )
        in text
    )
    assert "All 199 candidates have the same error, 0.5 %" in text
    assert (
        "No candidate is shown to be better than always answering the commonest class, which "
        "gets 0.5 %"
    ) in text


def test_an_int8_run_reports_the_accuracy_of_the_files_that_were_measured(tmp_path, make_run):
    run = make_run(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps(run.read_json("config.json") | {"export": {"precision": "int8"}})
    )
    assert "90.0 % test accuracy at 0.300 ms measured" in write_report(run).read_text()


def test_a_limit_that_excludes_nothing_is_said_to(tmp_path, make_run):
    run = make_run(tmp_path, limit_ms=3.0)
    assert (
        "The limit of 3 ms excludes nothing: the slowest network of tiny that was measured "
        "takes 0.59"
    ) in write_report(run).read_text()
    run.append_jsonl(
        "metrics.jsonl",
        {"stage": "search", "event": "limit", "slowest_ms": 0.6, "larger": ["cifar", "residual"]},
    )
    assert "cifar and residual have networks of about 3 ms" in write_report(run).read_text()


def test_two_writes_are_identical(run, text):
    assert write_report(run).read_text() == text


def test_no_limit_no_line(tmp_path, make_run):
    text = write_report(make_run(tmp_path, limit_ms=None)).read_text()
    assert "The limit" not in text and "limit: at most" not in text


def test_accuracies_of_trained_candidates_are_not_said_to_be_the_supernets(tmp_path, make_run):
    run = make_run(tmp_path)
    assert "before: with the supernet" in write_report(run).read_text()
    trained = {"hybrid": {"epochs": 1, "head_epochs": 5, "share": 0.25}}
    (tmp_path / "config.json").write_text(
        json.dumps(run.read_json("config.json") | {"search": trained})
    )
    text = write_report(run).read_text()
    assert "before: as searched" in text and "own training on 25" in text


@pytest.mark.parametrize(
    "file", [name for name, one in RECORDS.items() if one.reported and name != "verified.csv"]
)
def test_a_missing_file_names_the_command_that_makes_it(tmp_path, file, make_run):
    run = make_run(tmp_path)
    (tmp_path / file).unlink()
    command = RECORDS[file].made_by
    with pytest.raises(UserError, match=rf"no {file} in .*: run `jaxnas {command}` first"):
        write_report(run)


@pytest.mark.parametrize("failed", [1, 3])
def test_networks_that_the_device_did_not_run_are_said_to_be_unmeasured(
    tmp_path, failed, make_run, write_csv
):
    run = make_run(tmp_path)
    rows = run.read_csv("verified.csv")
    for row in rows[:failed]:
        row |= {name: "nan" for name in row if name.endswith("_ms") and name != "predicted_ms"}
    write_csv(run.path("verified.csv"), rows)
    text = " ".join(write_report(run).read_text().split())
    assert text.count("test accuracy, latency not measured</b>") == failed
    assert ("No network could be measured" in text) == (failed == 3) and ("Take B" in text) == (
        failed == 1
    )
    assert "nan" not in re.sub(r"<script>.*?</script>|<style.*?</style>", "", text)


def test_a_network_that_was_not_verified_is_an_error(tmp_path, make_run):
    run = make_run(tmp_path)
    lines = (tmp_path / "verified.csv").read_text().splitlines(keepends=True)
    (tmp_path / "verified.csv").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="lacks 'knee'"):
        write_report(run)


def area(fitness: np.ndarray, reference: np.ndarray, cells: int = 400) -> float:
    """Hypervolume by counting the cells of a grid whose middle some row dominates."""
    grid = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(grid * reference[0], grid * reference[1])
    dominated = ((fitness[:, 0, None, None] <= x) & (fitness[:, 1, None, None] <= y)).any(axis=0)
    return float(dominated.mean() * reference.prod())


def test_hypervolume_grows_as_a_grid_says():
    fitness = np.random.default_rng(1).exponential(1, (40, 2)).astype(np.float32)
    fitness[3] = np.nan
    counts = np.array([4, 8, 24, 40], np.int32)
    reference = np.nanmax(fitness, axis=0)
    growth = hypervolume_curve(
        fitness, np.repeat(np.arange(4), np.diff(counts, prepend=0)), reference
    )
    expected = [area(fitness[:count], reference) for count in counts]
    np.testing.assert_allclose(growth, expected, rtol=0.02)
    planted = [area(fitness[: count // 2], reference) for count in counts]
    assert not np.allclose(growth, planted, rtol=0.02)


def test_claims_are_shown_beside_what_was_found(tmp_path, make_run):
    run = make_run(tmp_path, "big")
    before = write_report(run).read_text()
    assert "What was claimed" not in before
    write_claims(run, "cifar10", [Claim("it is fast", "4 times", HOSTILE, "holds")], "two cores")
    write_claims(
        run,
        "cifar10",
        [Claim("it is fast", "4 times", f"{HOSTILE} 2", "does not hold")],
        "two cores",
    )
    page = write_report(run).read_text()
    assert (
        page.count("it is fast") == 1
        and "does not hold" in page
        and "two cores" in page
        and "<script>alert" not in page
    )


def test_what_a_model_said_is_not_called_measured(tmp_path, make_run, write_csv):
    run = make_run(tmp_path)
    rows = [
        row | {"simulated": "True", "runtime": "off by a tenth", "warning": ""}
        for row in run.read_csv("verified.csv")
    ]
    rows[0]["warning"] = rows[-1]["warning"] = "extrapolated"
    write_csv(run.path("verified.csv"), rows)
    text = write_report(run).read_text()
    assert "Simulated ms of A, C: extrapolated." in text
    assert (
        "ms simulated</b>" in text and "No device was measured" in text and "off by a tenth" in text
    )
    assert (
        "ms measured</b>" not in text
        and "Latencies called measured" not in text
        and "fastest measured" not in text
    )
