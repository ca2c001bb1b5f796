"""layers.csv: how long each part of a network takes on the device, by the choices of its genes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory

LAYERS = "layers.csv"


@dataclass(frozen=True)
class LayerEntry:
    """An entry of a look-up table.

    A network takes the sum of its entries. Of one entry alone the latency means little: what all
    entries of one part have in common may as well be another part's.
    """

    parts: str  # their names, with spaces between; empty for what every network takes
    choices: str  # "width1=16 kernel1=5"
    latency_ms: float
    networks: int  # that have it, of those that the tables were fitted to; 0: inferred from others


def write_layers(run: RunDirectory, entries: Sequence[LayerEntry]) -> None:
    """Write all of them."""
    run.write_csv(LAYERS, [asdict(one) for one in entries])


def read_layers(run: RunDirectory) -> list[LayerEntry]:
    """The entries; of a whole table or of none."""
    with reading(run, LAYERS):
        return [
            LayerEntry(row["parts"], row["choices"], float(row["latency_ms"]), int(row["networks"]))
            for row in run.read_csv(LAYERS)
        ]
