"""Pages of the reference that are made from the code, and the results and the notebook as pages.

MkDocs calls `on_files` (mkdocs.yml: hooks). What is written nowhere cannot go out of date.
"""

import ast
import inspect
import io
import json
import re
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

from mkdocs.structure.files import File, Files

import jaxnas.public
from jaxnas.arguments import COMMANDS, parse
from jaxnas.commands.listing import KINDS, Kind, summary
from jaxnas.config import Config
from jaxnas.own_settings import own_settings
from jaxnas.records.files import RECORDS

ROOT = Path(__file__).parents[1]
SECTIONS = ("data", "train", "profile", "predict", "search", "finetune", "export")
PROTOCOLS = (
    "jaxnas.algorithms.algorithm.Algorithm",
    "jaxnas.predictors.predictor.Predictor",
    "jaxnas.predictors.predictor.Model",
    "jaxnas.objectives.objective.Objective",
    "jaxnas.objectives.objective.Context",
    "jaxnas.hardware.device.Device",
    "jaxnas.hardware.device.Identified",
    "jaxnas.hardware.device.Reachable",
    "jaxnas.hardware.cost_model.CostModel",
    "jaxnas.spaces.parts.Part",
    "jaxnas.training.method.Method",
    "jaxnas.relaxations.relaxation.Relaxation",
    "jaxnas.algorithms.formulations.Formulation",
    "jaxnas.loggers.writer.Writer",
    "jaxnas.studies.compare.Problem",
)


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages to those of the folder."""
    pages = {
        "reference/settings.md": settings(),
        "reference/names.md": names(),
        "reference/commands.md": commands(),
        "reference/files.md": run_files(),
        "reference/python.md": python(),
        "reference/protocols.md": protocols(),
        "results/experiments.md": (ROOT / "experiments/README.md").read_text(encoding="utf-8"),
        "tutorial/notebook.md": notebook(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def settings() -> str:
    """Every setting with its default and its docstring, a section for each dataclass."""
    top = [
        "# Settings",
        "Every setting of an experiment, by the name that the command line takes. In a file "
        "`--train.epochs 5` is `Config(train=TrainConfig(epochs=5))`.",
        "## Of the experiment",
        *_settings(Config),
    ]
    kinds = get_type_hints(Config)
    for section in SECTIONS:
        top += [f"## {section} {{#{section}}}", str(inspect.getdoc(kinds[section]))]
        top += _settings(kinds[section], f"{section}.")
    return "\n\n".join(top)


def _settings(kind: type, before: str = "") -> Iterator[str]:
    """The settings of one dataclass; those of a dataclass within it follow."""
    told = docstrings(kind)
    kinds = get_type_hints(kind)
    inner = [field for field in fields(kind) if is_dataclass(kinds[field.name])]
    for field in fields(kind):
        if field in inner:
            continue
        flag = f"--{before}{field.name}".replace("_", "-")
        default = "required" if field.default is MISSING else f"default `{field.default!r}`"
        yield f"`{flag}`, {default}\n:   {told[field.name]}"
    for field in inner if before else ():
        yield f"### {before}{field.name}"
        yield str(inspect.getdoc(kinds[field.name]))
        yield from _settings(kinds[field.name], f"{before}{field.name}.")


def docstrings(kind: type) -> dict[str, str]:
    """{field: the string below it, on one line}."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = dict.fromkeys((field.name for field in fields(kind)), "")
    for field, after in pairwise(body.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=text):
                found[name] = " ".join(str(ast.literal_eval(text)).split())
    return found


def names() -> str:
    """What `jaxnas list` says, as tables."""
    top = [
        "# Names",
        "The names that settings know. `jaxnas list` prints the same. A name may also be a thing "
        "[of your own](../how-to/plug-in.md).",
    ]
    for name, kind in KINDS.items():
        flag = f"--{kind.flag}".replace("_", "-")
        top += [f"## {name} {{#{name}}}", f"Setting `{flag}`. {kind.described}"]
        top.append("\n".join(["| name | what it is | settings |", "|---|---|---|", *_rows(kind)]))
    return "\n\n".join(top)


def _rows(kind: Kind) -> Iterator[str]:
    for name, made in kind.names.items():
        own = ", ".join(f"`{one}`" for one in own_settings(made))
        yield f"| `{name}` | {summary(made).replace('|', chr(92) + '|')} | {own} |"


def commands() -> str:
    """The help of every command, as it prints it."""
    top = ["# Commands"]
    for name in _commands():
        title = f"jaxnas {name}".strip()
        text = helped([name, "--help"] if name else ["--help"])
        top += [f"## {title}", f"```text\n{text}\n```"]
    return "\n\n".join(top)


def _commands() -> list[str]:
    """The names of all commands; "" is the program itself."""
    return ["", *re.findall(r"^ {4}(\w+)", helped(["--help"]), re.MULTILINE)]


def helped(arguments: list[str]) -> str:
    """What the command line prints for these arguments before it ends."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        parse(arguments)
    return printed.getvalue().rstrip()


def run_files() -> str:
    """The files of a run, by stage, and what they depend on."""
    top = [
        "# Files of a run",
        "Each file is written whole or not at all. A setting that a file depends on is the reason "
        "why it is made again when you [change a run](../how-to/change.md). A file also depends "
        "on all that the files of earlier stages depend on.",
    ]
    rows = ["| file | stage | depends on | but not on |", "|---|---|---|---|"]
    for one in RECORDS.values():
        on, but = (", ".join(f"`{part}`" for part in some) for some in (one.settings, one.but))
        rows.append(f"| `{one.name}` | {one.made_by} | {on} | {but} |")
    stages = [f"| `{name}` | {what} |" for name, what in COMMANDS.items()]
    top += ["\n".join(rows), "## Stages", "\n".join(["| command | does |", "|---|---|", *stages])]
    return "\n\n".join(top)


def python() -> str:
    """The public names, from their docstrings."""
    top = ["# Python", "The names of `import jaxnas`."]
    for name in jaxnas.public.__all__:
        path = place(getattr(jaxnas.public, name), name)
        elsewhere = f"## {name}\n\nA protocol: [{name}][{path}]."
        top.append(elsewhere if path in PROTOCOLS else f"::: {path}")
    return "\n\n".join(top)


def place(thing: Any, name: str) -> str:
    """The module of a public name, and its name there."""
    return f"{thing.__module__}.{getattr(thing, '__qualname__', name)}"


def protocols() -> str:
    """What a thing of one's own must have."""
    top = ["# Protocols", "What a thing of your own must have: [examples](../how-to/plug-in.md)."]
    return "\n\n".join([*top, *(f"::: {path}" for path in PROTOCOLS)])


def notebook() -> str:
    """The notebook as a page: its text, its code, and what that printed."""
    cells = json.loads((ROOT / "docs/notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    return "\n\n".join(part for cell in cells["cells"] for part in _cell(cell))


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    yield f"```python\n{text}\n```"
    for output in cell["outputs"]:
        printed = output.get("text") or output.get("data", {}).get("text/plain")
        if printed:
            yield f"```text\n{''.join(printed).rstrip()}\n```"
        if picture := output.get("data", {}).get("image/png"):
            yield f'<img alt="What the cell draws" src="data:image/png;base64,{picture}">'
