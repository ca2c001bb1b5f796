"""The JSON files of a run."""

from collections.abc import Mapping
from typing import Any

from jaxnas.records.reading import SPLITS, reading
from jaxnas.records.run_directory import RunDirectory

QUALITY = ("pearson", "spearman", "kendall", "within_10_percent")
DATA = ("height", "width", "channels", "train", "search", "test", "calibration")
CHOSEN = ("macs", "params", "search_accuracy", "finetuned_search_accuracy")


def read_data(run: RunDirectory) -> dict[str, Any]:
    """data.json: what the images are."""
    with reading(run, "data.json"):
        data = _named(run.read_json("data.json"))
        for name in ("name", "source", "fingerprint"):
            _text(data, name)
        for name in DATA:
            if _number(data, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {data[name]}")
        if (
            not isinstance(data["class_names"], list)
            or not data["class_names"]
            or not all(isinstance(one, str) for one in data["class_names"])
        ):
            raise TypeError("class_names must be a list of text")
        for name in ("mean", "deviation"):
            values = data[name]
            if (
                not isinstance(values, list)
                or len(values) != data["channels"]
                or not all(type(one) in (int, float) for one in values)
            ):
                raise TypeError(f"{name} must be a list of numbers, one for each channel")
        for split, sizes in _named(data.get("class_sizes", {})).items():  # older runs have none
            if (
                not isinstance(sizes, list)
                or not sizes
                or not all(type(size) is int and size >= 0 for size in sizes)
            ):
                raise TypeError(f"class_sizes of {split} must be a list of counts")
        _number({"selection": 0} | data, "selection")  # older runs have none
    return data


def read_environment(run: RunDirectory) -> dict[str, Any]:
    """environment.json: the machine and its versions."""
    with reading(run, "environment.json"):
        environment = _named(run.read_json("environment.json"))
        for name in environment:
            _string(environment, name)
    return environment


def read_inputs(run: RunDirectory) -> dict[str, Any]:
    """inputs.json: the folder where the run began, and digests of its files.

    {} for older runs, which have none.
    """
    if not run.exists("inputs.json"):
        return {}
    with reading(run, "inputs.json"):
        inputs = _named(run.read_json("inputs.json"))
        for name in ("folder", "device"):
            _text(inputs, name)
        if inputs["weights"] is not None:
            _text(inputs, "weights")
        if "\0" in inputs["folder"]:
            raise ValueError("folder holds a NUL")
    return inputs


def read_quality(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """predictor.json: how good the predictor is on each split.

    A figure that is not defined is None.
    """
    with reading(run, "predictor.json"):
        quality = _named(run.read_json("predictor.json"))
        for split in SPLITS:
            _number(_named(quality[split]), "count")
            for name in QUALITY:
                if quality[split][name] is not None:
                    _number(quality[split], name)
    return {split: quality[split] for split in SPLITS}


def read_chosen(run: RunDirectory, predicted: bool) -> list[dict[str, Any]]:
    """chosen.json: the chosen networks in order.

    `predicted`: whether the run has predicted their latency.
    """
    with reading(run, "chosen.json"):
        chosen = run.read_json("chosen.json")
        if not isinstance(chosen, list) or not chosen:
            raise TypeError("expected a list of networks")
        for one in map(_named, chosen):
            for name in ("name", "role"):
                _text(one, name)
            for name in CHOSEN:
                _number(one, name)
            if predicted:
                _number(one, "predicted_ms")
            _named(one["network"])
            genome = one["genome"]
            if (
                not isinstance(genome, list)
                or not genome
                or not all(type(choice) is int and 0 <= choice < 2**31 for choice in genome)
            ):
                raise TypeError(f"the genome of {one['name']} must be a list of choices")
        if len({one["name"] for one in chosen}) < len(chosen):
            raise ValueError("two networks have one name")
    return chosen


def read_metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """metrics.jsonl: figures of training and fine-tuning, and events."""
    lines = run.read_jsonl("metrics.jsonl")
    with reading(run, "metrics.jsonl"):
        for line in lines:
            stage = _text(line, "stage")
            event = line.get("event")
            if event == "done":
                _number(line, "seconds")
            elif event is None and stage == "train":
                for name in ("step", "loss", "loss_largest"):
                    _number(line, name)
            elif event is None and stage == "finetune":
                _text(line, "name")
                for name in ("epoch", "search_accuracy"):
                    _number(line, name)
    return lines


def read_claims(run: RunDirectory) -> dict[str, Any]:
    """claims.json: {experiment: its `claims` and `setup`}, {} where there are none."""
    if not run.exists("claims.json"):
        return {}
    with reading(run, "claims.json"):
        claims = _named(run.read_json("claims.json"))
        for table in map(_named, claims.values()):
            _text(table, "setup")
            for claim in map(_named, table["claims"]):
                for name in ("claim", "paper", "ours", "verdict"):
                    _text(claim, name)
    return claims


def _named(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected named values, got {type(value).__name__}")
    return value


def _text(record: Mapping[str, Any], name: str) -> str:
    if not _string(record, name):
        raise ValueError(f"{name} must not be empty")
    return record[name]


def _string(record: Mapping[str, Any], name: str) -> str:
    if not isinstance(record[name], str):
        raise TypeError(f"{name} must be text, got {record[name]!r}")
    return record[name]


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record[name]
    if type(value) not in (int, float) or not abs(value) < 2**63:
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value
