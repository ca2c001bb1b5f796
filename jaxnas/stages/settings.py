"""What a run is: its settings, and what is in the files that they name.

Where those files lie is no part of it.

config.json has the settings as the user wrote them; inputs.json has what a path does not say: the
folder that relative paths begin at, and digests of the initial weights and of the device's
description. The images have their fingerprint in data.json, the space all its choices in
space.json.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from jaxnas.config import Config, device_names, load_chip
from jaxnas.errors import UserError
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.records.cache import digest
from jaxnas.records.inputs import Inputs, read_inputs
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.space import Space
from jaxnas.stages.bounds import check_types
from jaxnas.stages.initial import of_settings
from jaxnas.stages.unread import without_unread
from jaxnas.weights import trained


def config_from(values: Mapping[str, Any]) -> Config:
    """The settings that a config.json holds.

    Those that are younger than the file have their defaults.

    An unknown setting, or a missing one without a default, is a `TypeError`, `KeyError` or
    `AttributeError`.
    """
    return _from_dict(Config, _renewed(values))


def _renewed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same in the names of now: older runs minimised error, latency and what `also` named."""
    search = dict(values.get("search", {}))
    if "also" in search:
        search["objectives"] = ["error", "latency_ms", *search.pop("also")]
    return {**values, "search": search} if "search" in values else values


def _from_dict(kind: type, values: Mapping[str, Any]) -> Any:
    nested = {f.name: f.default_factory for f in fields(kind) if is_dataclass(f.default_factory)}

    def setting(name: str, value: Any) -> Any:
        if name in nested:
            return _from_dict(nested[name], value)
        return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples

    return kind(**{name: setting(name, value) for name, value in values.items()})


def read_config(folder: Path) -> Config:
    """The settings of a run.

    A relative path that leads nowhere begins at the folder where the run did.
    """
    try:
        config = config_from(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        check_types(config)
        return without_unread(located(config, begun_in(RunDirectory(folder))))
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        UserError,
    ) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{folder} is no run directory that can be taken up ({what}): name an experiment file"
        ) from error


def begun_in(run: RunDirectory) -> Path:
    """The folder at which relative paths of its settings begin."""
    return Path(read_inputs(run).folder)


def located(config: Config, folder: Path) -> Config:
    """The settings with paths that lead nowhere from here begun at that folder."""
    kind, colon, path = config.data.source.partition(":")
    of_path = kind in ("npz", "folder")
    source = f"{kind}{colon}{_from(folder, path)}" if of_path else config.data.source
    data_dir = config.data.data_dir and _from(folder, config.data.data_dir)
    space, *devices = (
        _from(folder, name) if name.endswith((".toml", ".json")) else name
        for name in (config.space, *device_names(config.profile.device))
    )
    device = f"{'worst:' * config.profile.device.startswith('worst:')}{','.join(devices)}"
    return replace(
        config,
        space=space,
        weights=config.weights and _from(folder, config.weights),
        data=replace(config.data, source=source, data_dir=data_dir),
        profile=replace(config.profile, device=device),
        finetune=replace(
            config.finetune,
            teacher=config.finetune.teacher and _from(folder, config.finetune.teacher),
        ),
        search=replace(
            config.search, initial=config.search.initial and _from(folder, config.search.initial)
        ),
    )


def _from(folder: Path, path: str) -> str:
    """The path itself, or from that folder on if it is there alone."""
    if os.path.exists(os.path.expanduser(path)) or not os.path.exists(folder / path):
        return path
    return str(folder / path)


def inputs_of(config: Config, space: Space) -> Inputs:
    """What the settings name, as it is now."""
    return Inputs(os.getcwd(), _weights(config), _device(config), _initial(config, space))


def recorded_settings(run: RunDirectory) -> Config:
    """The settings of a run as it recorded them.

    A `UserError` where config.json is damaged, or another program's.
    """
    try:
        return config_from(json.loads(run.read_bytes("config.json")))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"corrupt: {run.path('config.json')} ({what[:200]}) holds no settings of jaxnas; "
            "if this is a run, restore it, else use another --out"
        ) from error


def _weights(config: Config) -> str | None:
    """A digest of the initial weights, or the name of those that come with jaxnas.

    None where there are none.
    """
    if config.weights is None or config.weights in trained.shipped():
        return config.weights
    try:
        with open(config.weights, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # they are not needed any more where the training has begun
        return None


def _initial(config: Config, space: Space) -> str | None:
    """A digest of the genomes that the search begins with; None where there are none."""
    if config.search.initial is None:
        return None
    try:
        return digest(of_settings(config, space))
    except UserError:  # they are not needed any more where the search has ended
        return None


def _device(config: Config) -> str:
    """The name of the device, or a digest of what a file says of it."""
    return ",".join(map(_described, device_names(config.profile.device)))


def _described(name: str) -> str:
    if not name.endswith(".toml"):
        return name
    chip = load_chip(name)
    settings = chip.settings if isinstance(chip, ElasticChip) else vars(chip)
    return digest({**settings, "name": ""})
