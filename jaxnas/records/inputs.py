"""inputs.json: what the settings of a run name, but do not say."""

from dataclasses import asdict, dataclass

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import named, text

INPUTS = "inputs.json"


@dataclass(frozen=True)
class Inputs:
    """The folder where relative paths begin, and digests of what settings name.

    `weights` and `device` are names where they are known by name; None: not known.
    """

    folder: str = ""
    weights: str | None = None
    device: str | None = None
    initial: str | None = None  # the genomes that the search begins with


def read_inputs(run: RunDirectory) -> Inputs:
    """Nothing is known of older runs, which have no such file."""
    if not run.exists(INPUTS):
        return Inputs()
    with reading(run, INPUTS):
        values = named(run.read_json(INPUTS))
        folder = text(values, "folder")
        if "\0" in folder:
            raise ValueError("folder holds a NUL")
        weights = None if values["weights"] is None else text(values, "weights")
        initial = None if values.get("initial") is None else text(values, "initial")
        return Inputs(folder, weights, text(values, "device"), initial)


def write_inputs(run: RunDirectory, inputs: Inputs) -> None:
    """Write all of it."""
    run.write_json(INPUTS, asdict(inputs))
