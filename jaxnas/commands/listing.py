"""`jaxnas list`: the names that settings know, and what each stands for."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from jaxnas import config
from jaxnas.data.augment import Augmentation
from jaxnas.data.transforms import TRANSFORMS
from jaxnas.errors import UserError, near
from jaxnas.own_settings import own_settings
from jaxnas.plugins import written
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.report.words import aligned
from jaxnas.training.method import TrainConfig
from jaxnas.weights.trained import shipped

WIDTH = 100


@dataclass(frozen=True)
class Kind:
    """Names of one kind, and the setting that takes them."""

    flag: str
    names: Mapping[str, Any]
    settings: type  # the dataclass that has the setting

    @property
    def described(self) -> str:
        """What the setting's docstring says."""
        return setting_docstring(self.settings, self.flag.rpartition(".")[2])


KINDS = {
    "spaces": Kind("space", config.SPACES, config.Config),
    "weights": Kind("weights", dict.fromkeys(shipped()), config.Config),
    "sources": Kind("data.source", config.DATASETS, config.DataConfig),
    "transforms": Kind("data.augmentation.transforms", TRANSFORMS, Augmentation),
    "methods": Kind("train.method", config.METHODS, TrainConfig),
    "relaxations": Kind("train.relaxed.relaxation", config.RELAXATIONS, RelaxedConfig),
    "devices": Kind("profile.device", config.DEVICES, config.ProfileConfig),
    "predictors": Kind("predict.method", config.PREDICTORS, config.PredictConfig),
    "algorithms": Kind("search.algorithm", config.ALGORITHMS, config.SearchConfig),
    "objectives": Kind("search.objectives", config.OBJECTIVES, config.SearchConfig),
    "formulations": Kind("search.formulation", config.FORMULATIONS, config.SearchConfig),
}


def run_list(kind: str | None) -> None:
    """Print the kinds with their names, or of one kind what each name stands for."""
    if kind is not None:
        print(told(KINDS[kind]) if kind in KINDS else told_name(kind))
        return
    rows = [(name, one.flag, ", ".join(written(one.names))) for name, one in KINDS.items()]
    for name, flag, names in rows:
        print(f"{name} (--{flag.replace('_', '-')})")
        print(textwrap.fill(names, WIDTH, initial_indent="  ", subsequent_indent="  "))
    print("\njaxnas list KIND says what they stand for, jaxnas list NAME what one does.")


def told(kind: Kind) -> str:
    """The setting as its docstring has it, then a line for each name, and its own settings."""
    head = textwrap.fill(f"--{kind.flag.replace('_', '-')}: {kind.described}", WIDTH)
    if not any(map(summary, kind.names.values())):
        return head
    return "\n".join([head, "", *_rows(written(kind.names))])


def told_name(name: str) -> str:
    """What each kind that has the name says of it.

    Raises:
        UserError: it names neither a kind nor anything of one.
    """
    found = [_told_of(kind, name) for kind, one in KINDS.items() if name in one.names]
    if not found:
        every = [*KINDS, *(own for one in KINDS.values() for own in one.names)]
        raise UserError(
            f"unknown kind of name {name!r}; known: {', '.join(sorted(KINDS))}, and the names of "
            f"each, which jaxnas list prints{near(name, every)}"
        )
    return "\n\n".join(found)


def _told_of(kind: str, name: str) -> str:
    """Its line and its settings; where it has no line, the text of the setting that takes it."""
    one = KINDS[kind]
    made = one.names[name]
    if not summary(made):
        return f"{kind}\n{told(one)}"
    return "\n".join([f"{kind} (--{one.flag.replace('_', '-')})", *_rows(written({name: made}))])


def _rows(names: Mapping[str, Any]) -> Iterator[str]:
    """A line for each name, and the settings of its own."""
    lines = aligned([(name, summary(made)) for name, made in names.items()])
    indent = " " * (2 + max(map(len, names)))
    for line, made in zip(lines, names.values(), strict=True):
        yield line.rstrip()
        if own := own_settings(made):
            text = f"settings: {', '.join(own)}"
            yield textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def summary(made: Any) -> str:
    """The first line of its docstring; nothing where it has none of its own.

    >>> from jaxnas.algorithms.nsga2 import NSGA2
    >>> summary(NSGA2)
    'Evolves a population towards the whole front of non-dominated candidates.'
    """
    while isinstance(made, partial):
        made = made.func
    text = inspect.getdoc(made) if inspect.isclass(made) or inspect.isroutine(made) else None
    return (text or "").partition("\n")[0]


def setting_docstring(settings: type, name: str) -> str:
    """The docstring below a field of a dataclass, on one line.

    >>> setting_docstring(config.Config, "seed")
    'All randomness follows from it.'
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(body, ast.ClassDef)
    for field, after in pairwise(body.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=found)), ast.Expr(value=text) if found == name:
                return " ".join(str(ast.literal_eval(text)).split())
    raise KeyError(name)
