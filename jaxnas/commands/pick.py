"""`jaxnas pick`: other networks of a run's front, for fine-tuning, export and measurement."""

from jaxnas.errors import UserError
from jaxnas.objectives.limits import budget, upper_limits
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.run_directory import RunDirectory


def overrides(path: str, under: str, count: int) -> list[str]:
    """The settings that pick so many networks within a budget; picking is a run with them.

    Raises:
        UserError: the run has not searched, or no network of its front is within the budget.
    """
    run = RunDirectory(path)
    if not run.exists(CANDIDATES):
        raise UserError(f"{path} is no run that has searched: name one, or `jaxnas run` it first")
    name, most = budget(under)
    searched = read_searched(run, CANDIDATES)
    columns = searched.counted
    upper_limits([f"{name}={most!r}"], columns.names, "--under")
    costs = columns[name][searched.front]
    if not (costs <= most).any():
        raise UserError(
            f"no network of the front has {name} up to {most:g}, the least has {costs.min():.3g}: "
            "raise --under"
        )
    return ["--finetune.under", f"{name}={most!r}", "--finetune.networks", str(count)]
