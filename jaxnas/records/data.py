"""data.json: what the images of a run are."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from jaxnas.data.preparation import BEFORE, Preparation
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import named, number, string, text

DATA = "data.json"
COUNTS = ("height", "width", "channels", "train", "search", "test", "calibration")


@dataclass(frozen=True)
class DataRecord:
    """The images, how many each split has, and how they are prepared for the supernet."""

    name: str
    source: str
    height: int
    width: int
    channels: int
    class_names: list[str]
    train: int
    search: int
    test: int
    calibration: int
    mean: list[float]  # of each channel
    deviation: list[float]
    fingerprint: str
    selection: int | None = None  # None: an older run, which held no images out
    class_sizes: dict[str, list[int]] | None = None  # by split; None: an older run
    resizing: str = BEFORE.resizing
    recalibration: str = BEFORE.recalibration
    notes: list[str] = field(default_factory=list)  # what the source has to say, a line each

    @property
    def prepared(self) -> Preparation:
        """What images look like to the supernet."""
        return Preparation(self.resizing, self.recalibration)


def read_data(run: RunDirectory) -> DataRecord:
    """What the images are."""
    with reading(run, DATA):
        values = named(run.read_json(DATA))
        _check(values)
        known = {one.name for one in fields(DataRecord)} & values.keys()
        return DataRecord(**{name: values[name] for name in known})


def write_data(run: RunDirectory, data: DataRecord) -> None:
    """Write what the images are."""
    run.write_json(DATA, asdict(data))


def _check(values: dict[str, Any]) -> None:
    for name in ("name", "source", "fingerprint"):
        text(values, name)
    for name in ("resizing", "recalibration"):
        string({name: ""} | values, name)
    for name in COUNTS:
        if number(values, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {values[name]}")
    number({"selection": 0} | values, "selection")
    names = values["class_names"]
    if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
        raise TypeError("class_names must be a list of text")
    notes = values.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(one, str) for one in notes):
        raise TypeError("notes must be a list of text")
    for name in ("mean", "deviation"):
        _check_channels(values, name)
    for split, sizes in named(values.get("class_sizes", {})).items():
        if not isinstance(sizes, list) or not sizes or not all(map(_is_count, sizes)):
            raise TypeError(f"class_sizes of {split} must be a list of counts")


def _check_channels(values: dict[str, Any], name: str) -> None:
    each = values[name]
    right = isinstance(each, list) and len(each) == values["channels"]
    if not right or not all(type(one) in (int, float) for one in each):
        raise TypeError(f"{name} must be a list of numbers, one for each channel")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
