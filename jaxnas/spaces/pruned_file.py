"""A pruned space as a file: the name of the whole space, and the choices that are left."""

import json
from typing import Any, NamedTuple

from jaxnas.errors import UserError


class PrunedFile(NamedTuple):
    """What such a file says."""

    space: str  # as a run's settings name it
    choices: dict[str, tuple[int, ...]]  # of genes that have lost some, by name

    def text(self) -> str:
        """What the file holds."""
        choices = {name: list(values) for name, values in self.choices.items()}
        rows = (f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in choices.items())
        return (
            f'{{\n  "space": {json.dumps(self.space)},\n  "choices": {{\n'
            + ",\n".join(rows)
            + "\n  }\n}\n"
        )


def read(path: str) -> PrunedFile:
    """What a file says; a `UserError` where it cannot be read, or says something else."""
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
    except OSError as error:
        raise UserError(
            f"cannot read the space {path}: {error.strerror}; name a .json file of `jaxnas prune`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON file: {error}") from error
    choices = said.get("choices") if isinstance(said, dict) else None
    if not isinstance(choices, dict) or not isinstance(said.get("space"), str):
        raise UserError(
            f"{path} describes no pruned space: expected a space and its choices, as `jaxnas "
            "prune` writes them"
        )
    for name, values in choices.items():
        if not _are_whole(values):
            raise UserError(
                f"{path}: the choices of {name} must be a list of whole numbers, got "
                f"{json.dumps(values)[:60]}"
            )
    return PrunedFile(said["space"], {name: tuple(values) for name, values in choices.items()})


def _are_whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)
