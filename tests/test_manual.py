"""The README and the manual: their code runs, and the paths, flags and names in them exist."""

import json
import re
import runpy
import subprocess
import sys
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_type_hints

import jax
import numpy as np
import pytest

import jaxnas
from jaxnas.arguments import COMMANDS
from jaxnas.cli import main
from jaxnas.config import Config
from jaxnas.data.dataset import make_dataset
from jaxnas.experiment import load_config
from jaxnas.records.files import RECORDS
from jaxnas.stages.job import load_space

ROOT = Path(__file__).parents[1]
PATHS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PATHS}
NOTEBOOK = json.loads((ROOT / "docs/notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
# Python blocks of each page that has some, all of which are run here, in test_plugins.py or in
# test_manual_networks.py.
RUN = {
    "README.md": 1,
    "docs/how-to/own-space.md": 1,
    "docs/how-to/paper-figures.md": 1,
    "docs/how-to/plug-in.md": 8,
    "docs/how-to/use-a-network.md": 2,
    "docs/results/comparison.md": 1,
    "docs/tutorial/library.md": 1,
}
GENERATED = {
    "reference/names": "fairnas",
    "reference/commands": "--under",
    "reference/files": "supernet.safetensors",
    "reference/python": "jaxnas.algorithms.nsga2.NSGA2",
    "reference/protocols": "jaxnas.hardware.device.Reachable",
    "results/experiments": "quickstart",
}
OTHERS = {"--find-links", "--help", "--version"}  # flags of pip, and of every command


def test_every_python_block_is_run():
    found = {name: len(re.findall(r"^```python$", text, re.M)) for name, text in PAGES.items()}
    assert {name: count for name, count in found.items() if count} == RUN


def test_the_manual_is_built_strictly(tmp_path):
    """Links and anchors lead somewhere, and docstrings are found."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    settings = (tmp_path / "site/reference/settings.html").read_text()
    assert all(f"--{name}</code>".replace("_", "-") in settings for name in known_settings())
    for page, word in GENERATED.items():
        assert word in (tmp_path / f"site/{page}.html").read_text(), page


def known_settings(kind: type = Config, before: str = "") -> list[str]:
    """The dotted names of all settings."""
    kinds = get_type_hints(kind)
    return [
        name
        for field in fields(kind)
        for name in (
            known_settings(kinds[field.name], f"{before}{field.name}.")
            if is_dataclass(kinds[field.name])
            else [before + field.name]
        )
    ]


def unknown(page: str, text: str) -> list[str]:
    """The flags, settings, commands and paths on a page that do not exist."""
    settings = known_settings()
    sections = {name.partition(".")[0] for name in settings if "." in name}
    source = (ROOT / "jaxnas/arguments.py").read_text(encoding="utf-8")
    short = (ROOT / "jaxnas/config.py").read_text(encoding="utf-8")
    flags = OTHERS | {*re.findall(r'"(--[\w-]+)"', source + short)}
    flags |= {f"--{name}".replace("_", "-") for name in settings}
    given = re.findall(r"(?<![\w-])--(?!xla)[a-z][\w.-]*", text)
    found = [flag for flag in given if flag not in flags]
    dotted = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.]+)`", text)
    groups = {name.rpartition(".")[0] for name in settings}
    found += [name for name in dotted if name not in (*settings, *groups, *RECORDS)]
    commands = re.findall(r'add_parser\(\s*"(\w+)"|^ {4}"(\w+)":', source, re.MULTILINE)
    known = {*COMMANDS, "compare", *map("".join, commands)}
    used = re.findall(r"^ {4}(?:\S*/)?jaxnas (\w+)", text, re.MULTILINE)
    found += [f"jaxnas {name}" for name in used if name not in known]
    paths = re.findall(r"(?<![/\w])((?:jaxnas|experiments|tools|tests)/[\w/.-]+\w)", text)
    return found + [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_flags_settings_commands_and_paths_exist(page):
    assert unknown(page, PAGES[page]) == []


@pytest.mark.parametrize(
    "text",
    [
        "`--search.hybrid 1`",
        "`train.epoch`",
        "    .venv/bin/jaxnas pik runs/mine",
        "`jaxnas/spaces/mine.py`",
    ],
)
def test_what_does_not_exist_is_found(text):
    assert len(unknown("a page", f"see\n\n{text}\n")) == 1


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    """Those of the other pages are checked where the manual is built."""
    links = [link for link in re.findall(r"\]\(([^)#]+)", PAGES[page]) if "://" not in link]
    links += re.findall(r"^\| `([\w/]+/)` \|", PAGES[page], re.MULTILINE)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_tutorial_names_stages_and_files_as_the_command_does():
    page = PAGES["docs/tutorial/quickstart.md"]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", page, re.MULTILINE)
    files = {name: re.findall(r"`([^`]+)`", written) for name, written in rows}
    assert list(files) == [name for name in COMMANDS if name != "run"]
    for name, written in files.items():
        for file in re.findall(r"[\w/*]+\.\w+|\w+/\w+", COMMANDS[name]):
            assert file.replace("*", "NAME") in written


def test_the_library_finds_and_measures_a_network(blocks, capsys):
    (code,) = blocks("docs/tutorial/library.md")
    exec(code, names := {})
    fitness = names["archive"].fitness
    best = np.asarray(names["evaluate"](names["genome"][None]))[0]
    assert not ((fitness <= best).all(axis=1) & (fitness < best).any(axis=1)).any()
    assert best[0] == sum(op.macs for op in names["subnet"].ops)
    assert "Measurement(device='onnxruntime'" in capsys.readouterr().out


def test_a_space_of_ones_own_in_python_and_from_a_file(blocks, tmp_path, capsys):
    (code,) = blocks("docs/how-to/own-space.md")
    (file,) = blocks("docs/how-to/own-space.md", "toml")
    exec(code, names := {})
    space = names["space"]
    assert capsys.readouterr().out.startswith(f"{space.size()} {{'resolution': 32, ")
    (tmp_path / "mine.toml").write_text(file)
    loaded = load_space(jaxnas.Config("mine", space=str(tmp_path / "mine.toml")), _noise())
    assert loaded.name == "mine" and loaded.resolutions == (16,)
    assert [gene.name for gene in loaded.genes] == [gene.name for gene in space.genes]
    assert [gene.choices for gene in loaded.genes[1:]] == [gene.choices for gene in space.genes[1:]]


def test_a_device_of_ones_own(blocks, tmp_path, capsys, monkeypatch):
    (chip,) = blocks("docs/how-to/own-device.md", "toml")
    monkeypatch.chdir(tmp_path)
    Path("chip.toml").write_text(chip)
    assert main(["inspect", "largest", "--space", "mobilenet_v2:0.5", "--device", "chip.toml"]) == 0
    assert "on chip (made up for this page)" in capsys.readouterr().out
    assert Path("mobilenet_v2_0.5_224_chip.svg").read_text().endswith("</svg>\n")


def test_a_problem_of_ones_own_lies_below_its_reference(blocks):
    (code,) = blocks("docs/results/comparison.md")
    exec(code, names := {})
    problem = names["problem"]()
    fitness = np.asarray(problem.fitness(problem.space.sample(jax.random.key(0), 50), None))
    assert fitness.shape == (50, len(problem.objectives))
    assert (fitness < np.array(problem.reference)).all(axis=1).mean() > 0.5


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/paper-figures.md"])
def test_the_tables_of_a_run(blocks, page, runs, capsys):
    (code,) = blocks(page)
    exec(code, names := {})
    assert len(names["run"].front) >= 1
    (written,) = Path().glob("*.csv")
    assert written.read_text().startswith("genome,")


def test_the_cells_of_the_notebook(runs):
    """Run as `docs/run_notebook.py` does, they print and draw what the notebook has stored."""
    cells = deepcopy(NOTEBOOK["cells"])
    runpy.run_path(str(ROOT / "docs/run_notebook.py"))["run_cells"](cells)
    assert Path("front.svg").read_text().endswith("</svg>\n")
    now, before = (
        [[output["output_type"] for output in cell.get("outputs", [])] for cell in some]
        for some in (cells, NOTEBOOK["cells"])
    )
    assert now == before and sum(map(len, now)) >= 5
    assert "(1, 10)" in json.dumps(cells)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """All of it, with fewer epochs, networks and candidates."""
    monkeypatch.chdir(tmp_path)
    whole = load_config("quickstart")
    small = replace(
        whole,
        train=replace(whole.train, epochs=1),
        profile=replace(whole.profile, train=12, validation=4, test=4, seconds=0.02),
        search=replace(whole.search, population=8, generations=3),
        finetune=replace(whole.finetune, epochs=1),
    )
    monkeypatch.setattr("jaxnas.experiment.load_config", lambda name: small)
    exec("\n".join(CELLS), names := {})
    assert len(names["limited"].chosen) >= 1
    assert (names["limited"].chosen["predicted_ms"] <= names["budget_ms"]).all()
    assert (tmp_path / "runs/notebook/earlier/1/report.html").is_file()


@pytest.fixture
def runs(finished_run, tmp_path, monkeypatch):
    """A folder in which all runs are finished: what is done already is not done again."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for name in ("quickstart", "mine", "notebook"):
        Path(f"runs/{name}").symlink_to(finished_run)
    monkeypatch.setattr(jaxnas, "run", lambda config, out: jaxnas.load(out))


def _noise() -> jaxnas.Dataset:
    split = (np.zeros((48, 16, 16, 3), np.uint8), np.arange(48) % 3)
    return make_dataset(
        "noise",
        ("ant", "bee", "cow"),
        train=split,
        search=split,
        test=split,
        calibration_images=48,
        seed=0,
    )
