"""The report of a synthetic run: complete, self-contained, safe, and the same every time."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.files import RECORDS
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.claims import Claim, write_claims
from jaxnas.report.html import write_report
from jaxnas.studies.statistics import hypervolume_curve

GENES = [
    "resolution",
    "first_conv_width",
    *[f"mb{i}_{kind}" for i in range(1, 7) for kind in ("width", "depth", "kernel", "expand")],
]
HOSTILE = "<script>alert('x')</script> --> $\\frac{$ & \"quoted\""
VOID = {"meta", "br"}


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def archive(rng: np.random.Generator, n: int, best: float) -> dict:
    """Candidates, each network twice.

    Their error falls as latency grows, and falls further below `best`.
    """
    latency_ms = rng.uniform(0.05, 0.6, n)
    fitness = np.stack(
        [best + 0.02 / latency_ms + rng.exponential(0.03, n), latency_ms], axis=1
    ).astype(np.float32)
    fitness[3] = np.nan
    return {
        "genomes": rng.integers(0, 2, (n, len(GENES)), np.int32),
        "fitness": fitness,
        "generation": np.repeat(np.arange(10, dtype=np.int32), n // 10),
        "parents": np.full((n, 2), -1, np.int32),
        "network": np.arange(n, dtype=np.int32) // 2,
        "seed": np.int32(0),
        "objectives": np.array(["error", "latency_ms"]),
    }


def measurement_rows(rng: np.random.Generator) -> list[dict]:
    rows = []
    for i, latency_ms in enumerate(rng.uniform(0.05, 0.6, 60)):
        row = {
            "round": 0,
            "split": ("train", "validation", "test")[i % 3],
            "genome": f"{i // 3} 1 0",
            "latency_ms": latency_ms,
            "p10_ms": 0.98 * latency_ms,
        }
        row |= {
            "p90_ms": 1.05 * latency_ms,
            "repeats": 40,
            "device": "onnxruntime",
            "threads": 1,
            "runtime": "onnxruntime 1.22",
        }
        rows.append(row | {"macs": 1000, "params": 100, "failure": ""})
    rows[7] |= {"latency_ms": "nan", "p10_ms": "nan", "p90_ms": "nan", "failure": "out of memory"}
    return rows


def chosen_networks(name: str, fitness: np.ndarray) -> list[dict]:
    """The most accurate, the fastest, and one that is the same as the fastest."""
    fitness = np.where(np.isnan(fitness), np.inf, fitness)
    picks = {
        name: int(fitness[:, 0].argmin()),
        "small": int(fitness[:, 1].argmin()),
        "knee": int(fitness[:, 1].argmin()),
    }
    roles = (
        "most accurate below 0.4 ms",
        "fastest within 5 percentage points",
        "best trade-off (knee)",
    )
    return [
        {
            "name": name,
            "role": role,
            "genome": [0] * len(GENES),
            "network": {gene: 8 for gene in GENES},
            "macs": 1_234_567,
            "params": 45_678,
            "search_accuracy": 1 - float(fitness[i, 0]),
            "finetuned_search_accuracy": 0.95,
            "selection_accuracy": 0.91,
            "finetuned_selection_accuracy": 0.94,
            "predicted_ms": float(fitness[i, 1]),
        }
        for (name, i), role in zip(picks.items(), roles, strict=True)
    ]


def verified_row(chosen: dict, median_ms: float, right: int) -> dict:
    row = {
        key: chosen[key]
        for key in (
            "name",
            "role",
            "macs",
            "params",
            "search_accuracy",
            "finetuned_search_accuracy",
            "predicted_ms",
        )
    }
    row |= {
        "genome": "0 1 0",
        "device": "onnxruntime",
        "measured_ms": 0.9 * median_ms,
        "median_ms": median_ms,
        "noise_floor": 0.01,
    }
    row |= {
        "p10_ms": 0.95 * median_ms,
        "p90_ms": 1.1 * median_ms,
        "p99_ms": 1.4 * median_ms,
        "test_accuracy": right / 397,
    }
    row |= {
        "test_balanced_accuracy": 0.921,
        "int8_test_accuracy": 0.9,
        "float32_ms": 0.9 * median_ms,
        "int8_ms": 1.8 * median_ms,
    }
    row |= {
        "float32_median_ms": median_ms,
        "int8_median_ms": 2 * median_ms,
        "max_logit_difference": 3.1e-6,
        "top1_agreement": 1.0,
    }
    return row | {
        "model": f"/elsewhere/models/{chosen['name']}.onnx",
        "threads": 1,
        "runtime": "onnxruntime 1.22",
    }


# Medians and right answers of the chosen, of 397 test images.
FOUND = ((0.3, 370), (0.2, 365), (0.21, 300))


def answers(chosen: list[dict]) -> dict:
    labels = np.zeros(397, np.int32)
    given = np.array([np.arange(397) >= right for _, right in FOUND], np.int32)
    return {
        "names": np.array([one["name"] for one in chosen]),
        "labels": labels,
        "float32": given,
        "int8": given,
    }


def metrics() -> list[dict]:
    lines: list[dict] = [
        {
            "stage": "train",
            "step": s,
            "epoch": s / 20,
            "loss": 2 / (1 + s / 50),
            "loss_largest": 1.8 / (1 + s / 45),
            "images_per_s": 900.0,
        }
        for s in range(0, 400, 10)
    ]
    lines += [
        {
            "stage": "finetune",
            "name": name,
            "epoch": e,
            "loss": 0.3,
            "search_accuracy": 0.90 + 0.01 * e + 0.005 * i,
        }
        for i, name in enumerate(("small", "knee"))
        for e in range(5)
    ]
    return [
        *lines,
        *[
            {"stage": stage, "event": "done", "seconds": 12.5}
            for stage in ("train", "profile", "search")
        ],
    ]


def make_run(path: Path, name: str = "big", limit_ms: float | None = 0.4) -> RunDirectory:
    """A whole run of plain files, as the other stages leave it."""
    rng = np.random.default_rng(0)
    found = archive(rng, 200, 0.02)
    sampled = archive(rng, 200, 0.05)
    measured = measurement_rows(rng)
    chosen = chosen_networks(name, found["fitness"])
    documents = {
        "config": {
            "name": name,
            "space": "tiny",
            "seed": 0,
            "latency_limit_ms": limit_ms,
            "train": {"epochs": 40, "data_dir": None},
        },
        "environment": {"machine": "a computer", "cores": "2", "jax": "0.10.2"},
        "data": {
            "name": "digits",
            "source": "digits",
            "height": 8,
            "width": 8,
            "channels": 1,
            "class_names": ["zero", name],
        }
        | {
            "train": 1000,
            "search": 200,
            "selection": 200,
            "test": 397,
            "calibration": 256,
            "mean": [0.3],
            "deviation": [0.4],
        }
        | {
            "class_sizes": {
                "train": [700, 300],
                "search": [150, 50],
                "selection": [140, 60],
                "test": [297, 100],
                "calibration": [200, 56],
            }
        }
        | {"fingerprint": "abc", "notes": ["4 of 60 pictures cannot be read: left out"]},
        "predictor": {
            split: {
                "pearson": 0.991,
                "spearman": 0.98,
                "kendall": 0.93,
                "within_10_percent": 0.97,
                "count": 20,
            }
            for split in ("train", "validation", "test")
        },
        "chosen": chosen,
    }
    for file, document in documents.items():
        (path / f"{file}.json").write_text(json.dumps(document))
    np.savez(path / "candidates.npz", **found)
    np.savez(path / "random.npz", **sampled)
    write_csv(path / "measurements.csv", measured)
    rows = [
        {"split": row["split"], "genome": row["genome"], "measured_ms": row["latency_ms"]}
        for row in measured
        if not row["failure"]
    ]
    write_csv(
        path / "predictions.csv",
        [row | {"predicted_ms": row["measured_ms"] * rng.normal(1, 0.04)} for row in rows],
    )
    write_csv(
        path / "verified.csv",
        [verified_row(network, *found) for network, found in zip(chosen, FOUND, strict=True)],
    )
    np.savez(path / "answers.npz", **answers(chosen))
    genomes = np.zeros((2, 9), np.int32)
    search_error = np.array([0.1, 0.2])
    selection_error = np.array([0.13, 0.23])
    np.savez(
        path / "selection.npz",
        genomes=genomes,
        search_error=search_error,
        selection_error=selection_error,
    )
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics()))
    return RunDirectory(path)


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
def run(request, tmp_path_factory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("run"), request.param)


def test_a_search_that_stopped_and_what_its_algorithm_says(tmp_path):
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
        search = {"generations": 50, "formulation": "chebyshev:weights=1,2"}
        run.write_json("config.json", config | {"search": search})
    text = write_report(run).read_text()
    assert "<code>chebyshev:weights=1,2</code>, and sought no front" in text
    assert "with one seed" not in text
    page = Page(text)
    assert page.open == [] and page.tags.count("svg") == 7
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert "stopped after generation 10 of 50: the hypervolume had not grown for 5." in text
    assert "error 1.00" in text and "predicted latency (ms) 1.00" in text  # squares keep the order


@pytest.fixture(scope="module")
def text(run) -> str:
    return write_report(run).read_text()


def test_the_page_is_well_formed_and_ids_are_unique(text):
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 5
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert {
        link
        for link in page.values("xlink:href")
        if link.removeprefix("#") not in page.values("id")
    } == set()


def test_the_page_refers_to_nothing_outside(text):
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert page.values("src") == []
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert all(
        link.startswith(("#", "models/"))
        for link in page.values("href") + page.values("xlink:href")
    )
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)", text))


def test_hostile_names_are_text(text):
    assert "<script" not in text
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
    words = re.sub(r"<[^>]*>", " ", text)
    assert not re.search(r"\b(wish|touched|sitting|front_1)\b", words)
    assert not re.search(r"(?<!percentage )\bpoints\b", words)


OLDER = (
    {"network"},
    {"selection", "class_sizes", "notes"},
    {"median_ms", "p99_ms", "noise_floor", "float32_median_ms", "int8_median_ms"},
)


def test_older_runs_open_and_say_what_they_lack(tmp_path):
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


def test_without_a_network_that_knows_more_than_the_commonest_class_none_is_recommended(tmp_path):
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


def test_an_int8_run_reports_the_accuracy_of_the_files_that_were_measured(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps(run.read_json("config.json") | {"export": {"precision": "int8"}})
    )
    assert "90.0 % test accuracy at 0.300 ms measured" in write_report(run).read_text()


def test_a_limit_that_excludes_nothing_is_said_to(tmp_path):
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


def test_no_limit_no_line(tmp_path):
    text = write_report(make_run(tmp_path, limit_ms=None)).read_text()
    assert "The limit" not in text and "limit: at most" not in text


def test_accuracies_of_trained_candidates_are_not_said_to_be_the_supernets(tmp_path):
    run = make_run(tmp_path)
    assert "before: with the supernet" in write_report(run).read_text()
    trained = {"hybrid": {"epochs": 1, "head_epochs": 5, "share": 0.25}}
    (tmp_path / "config.json").write_text(
        json.dumps(run.read_json("config.json") | {"search": trained})
    )
    text = write_report(run).read_text()
    assert "before: as searched" in text and "own training on 25" in text


@pytest.mark.parametrize("file", [name for name, one in RECORDS.items() if one.reported])
def test_a_missing_file_names_the_command_that_makes_it(tmp_path, file):
    run = make_run(tmp_path)
    (tmp_path / file).unlink()
    command = RECORDS[file].made_by
    with pytest.raises(UserError, match=rf"no {file} in .*: run `jaxnas {command}` first"):
        write_report(run)


@pytest.mark.parametrize("failed", [1, 3])
def test_networks_that_the_device_did_not_run_are_said_to_be_unmeasured(tmp_path, failed):
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
    assert "nan" not in re.sub(r"<svg.*?</svg>|<style.*?</style>", "", text)


def test_a_network_that_was_not_verified_is_an_error(tmp_path):
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
    fitness = archive(np.random.default_rng(1), 40, 0.02)["fitness"]
    counts = np.array([4, 8, 24, 40], np.int32)
    reference = np.nanmax(fitness, axis=0)
    growth = hypervolume_curve(
        fitness, np.repeat(np.arange(4), np.diff(counts, prepend=0)), reference
    )
    expected = [area(fitness[:count], reference) for count in counts]
    np.testing.assert_allclose(growth, expected, rtol=0.02)
    planted = [area(fitness[: count // 2], reference) for count in counts]
    assert not np.allclose(growth, planted, rtol=0.02)


def test_claims_are_shown_beside_what_was_found(tmp_path):
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


def test_what_a_model_said_is_not_called_measured(tmp_path):
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
