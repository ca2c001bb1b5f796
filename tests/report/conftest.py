"""A run of plain files, as the stages leave it, and a browser to look at its report."""

import base64
import csv
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxnas.records.run_directory import RunDirectory

GENES = [
    "resolution",
    "first_conv_width",
    *[f"mb{i}_{kind}" for i in range(1, 7) for kind in ("width", "depth", "kernel", "expand")],
]
HOSTILE = "<script>alert('x')</script> --> $\\frac{$ & \"quoted\""


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


def _make_run(path: Path, name: str = "big", limit_ms: float | None = 0.4) -> RunDirectory:
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


@pytest.fixture(scope="session")
def make_run():
    """Writes a whole run into a folder: `make_run(path, name, limit_ms)`."""
    return _make_run


@pytest.fixture(scope="session")
def hostile():
    """The name of a network that would be a script."""
    return HOSTILE


@pytest.fixture(scope="session", name="write_csv")
def write_csv_fixture():
    """Writes rows as a table."""
    return write_csv


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root may not make one
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)


# Chromium reads from 3 and writes to 4. Not by `preexec_fn`, which forks, and JAX has threads.
PLACE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """Chromium, driven by its remote protocol over two pipes: JSON, with a NUL between."""

    def __init__(self, folder: Path):
        from_us, self.writes = os.pipe()
        self.reads, to_us = os.pipe()
        far = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (from_us, to_us)]
        assert CHROMIUM is not None
        own = f"--user-data-dir={folder}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLACE, *map(str, far), CHROMIUM, *FLAGS, own],
            pass_fds=far,
            stderr=subprocess.DEVNULL,
        )
        for end in (from_us, to_us, *far):
            os.close(end)
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params) -> dict:
        """Ask, and wait for the answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict:
        """The next message."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.reads], [], [], 60)
            piece = os.read(self.reads, 1 << 20) if ready else b""
            assert piece, "Chromium says nothing"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, width: int = 1400, dark: bool = False) -> None:
        """Show a page, and wait until it has loaded."""
        self.events.clear()
        self.resize(width, dark)
        self.send("Page.navigate", url=path.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(self.receive())
        # What it draws once its size is known.
        self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    def resize(self, width: int, dark: bool = False, height: int = 1000) -> None:
        """Of the page, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, expression: str):
        """What an expression of the page's script gives."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """The pointer."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move and release."""
        button = {"button": "left", "clickCount": 1}
        self.move(*start)
        for kind, (x, y) in (
            ("mousePressed", start),
            ("mouseMoved", end),
            ("mouseReleased", end),
        ):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=1, **button)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and exceptions."""
        bad = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                bad.append(json.dumps(params["exceptionDetails"])[:300])
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                bad.append(params["entry"]["text"])
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                bad.append(str(params["args"]))
        return bad

    def requests(self) -> list[str]:
        """What the page has asked for, but for itself."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return asked[1:]

    def picture(self, path: Path, whole: bool = True) -> None:
        """Write a PNG of the page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """End the browser."""
        self.session = None
        try:
            self.send("Browser.close")
            self.process.wait(20)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.reads)
        os.close(self.writes)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A Chromium of the system; without one its tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()
