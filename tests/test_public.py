"""Public names and experiments are documented."""

import pkgutil
import re
import sys
from pathlib import Path

import pytest

import jaxnas
from jaxnas.config import make_space
from jaxnas.experiment import load_config

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))


@pytest.mark.parametrize("name", jaxnas.__all__)
def test_public_name_is_documented(name):
    text = getattr(jaxnas, name).__doc__
    assert text
    assert not text.startswith(f"{name}(")  # what dataclasses and named tuples say of themselves


def test_public_names_hide_no_module():
    assert len(set(jaxnas.__all__)) == len(jaxnas.__all__)
    modules = {module.name for module in pkgutil.iter_modules(jaxnas.__path__)}
    assert not modules & set(jaxnas.__all__)
    assert all(
        getattr(jaxnas, name) is sys.modules[f"jaxnas.{name}"]
        for name in modules & set(vars(jaxnas))
    )


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_opens_with_its_question_and_command(path):
    text = path.read_text()
    assert text.startswith('"""Question: ')
    assert f"\n## {path.stem}\n" in (ROOT / "experiments/README.md").read_text()
    names = (
        ["config"]
        if "\nconfig = " in text
        else re.findall(r"^(\w+) = (?:Config|replace)\(", text, re.MULTILINE)
    )
    for name in names:
        config = load_config(f"{path}:{name}")
        assert config.name == (path.stem if name == "config" else name)
        assert make_space(config.space)(32, 3, 10).size() > 1
    command = r"jaxnas \w+" if names else "python"  # a program of its own
    assert re.search(rf"^Commands?: {command} experiments/{path.name}", text, re.MULTILINE)
