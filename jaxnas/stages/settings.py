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
import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from jaxnas.config import Config, device_names, load_chip
from jaxnas.errors import UserError
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.records.cache import digest
from jaxnas.records.files import decides
from jaxnas.records.inputs import INPUTS, Inputs, read_inputs, write_inputs
from jaxnas.records.line_files import plain
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.space import Space
from jaxnas.stages.bounds import check_types
from jaxnas.stages.initial import of_settings
from jaxnas.stages.job import space_settings
from jaxnas.stages.unread import without_unread
from jaxnas.weights import trained

PLACES = ("data.source", "data.data_dir", "space", "weights", "profile.device", "search.initial")


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
        return without_unread(_located(config, _begun_in(RunDirectory(folder))))
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


def _begun_in(run: RunDirectory) -> Path:
    return Path(read_inputs(run).folder)


def _located(config: Config, folder: Path) -> Config:
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
        search=replace(
            config.search, initial=config.search.initial and _from(folder, config.search.initial)
        ),
    )


def _from(folder: Path, path: str) -> str:
    """The path itself, or from that folder on if it is there alone."""
    if os.path.exists(os.path.expanduser(path)) or not os.path.exists(folder / path):
        return path
    return str(folder / path)


def check_same_settings(run: RunDirectory, config: Config) -> None:
    """Refuses settings that differ from those of the run.

    Whatever the files that they name hold.
    """
    if not run.exists("config.json"):
        return
    old = _flat(recorded_settings(run))
    new = _flat(config)
    changes = {
        name: (old[name], new[name]) for name in new if decides(name) and old[name] != new[name]
    }
    # A place is named beside them, as the reason why its own settings differ.
    if not changes.keys() <= set(PLACES):
        _refuse(run, changes)


def keep_settings(run: RunDirectory, config: Config, space: Space) -> None:
    """Write what a new run is.

    Of one that exists, write where its files lie now, and refuse files that hold something else.
    """
    inputs = Inputs(os.getcwd(), _weights(config), _device(config), _initial(config, space))
    config = without_unread(config)
    structure = plain(space_settings(space))
    moved = False
    if run.exists("config.json"):
        recorded = recorded_settings(run)
        before = read_inputs(run)
        _refuse(
            run,
            {
                **_other_inputs(recorded, config, before, inputs),
                **_other_space(run, recorded, config, structure),
            },
        )
        moved = without_unread(_located(recorded, _begun_in(run))) != config
        inputs = replace(
            inputs,
            weights=inputs.weights or before.weights,
            initial=inputs.initial or before.initial,
        )
    if moved or not run.exists("config.json"):
        run.write_json("config.json", asdict(config))
    if not run.exists("space.json"):
        run.write_json("space.json", structure)
    if moved or not run.exists(INPUTS):
        write_inputs(run, inputs)


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


def _other_inputs(
    old: Config, new: Config, before: Inputs, inputs: Inputs
) -> dict[str, tuple[Any, Any]]:
    """Initial weights, device and genomes, if they are not those that the run began with."""
    settings = {
        "weights": (old.weights, new.weights, before.weights, inputs.weights),
        "profile.device": (old.profile.device, new.profile.device, before.device, inputs.device),
        "search.initial": (
            old.search.initial,
            new.search.initial,
            before.initial,
            inputs.initial,
        ),
    }
    changes = {}
    for name, (was, now, known, found) in settings.items():
        # The weights of a run that is trained, the genomes of one that has searched.
        gone = now is not None and found is None
        same = was == now if known is None else known == found or gone
        if not same:
            changes[name] = (was, now)
    return changes


def _other_space(
    run: RunDirectory, old: Config, new: Config, structure: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The space, if it is another than that of the run.

    By its setting, or by what its file says now.
    """
    if not run.exists("space.json"):
        return {}
    with reading(run, "space.json"):
        was = _flat_values(run.read_json("space.json"))
        now = _flat_values(structure)
        names = [
            name for name in {**was, **now} if name != "name" and was.get(name) != now.get(name)
        ]
    if names and old.space != new.space:
        return {"space": (old.space, new.space)}
    return {name: (was.get(name), now.get(name)) for name in names}


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


def _refuse(run: RunDirectory, changes: Mapping[str, tuple[Any, Any]]) -> None:
    if not changes:
        return
    said = ", ".join(_change(name, was, now) for name, (was, now) in changes.items())
    advice = "use another --out, or restore them"
    supernet = next(filter(run.exists, trained.FILES), None)
    if supernet and all(map(_is_after_training, changes)):
        weights = shlex.quote(f"{run.root}/{supernet}")
        advice = (
            f"restore them, or keep the training in a new run: --out NEW --weights {weights} "
            "--train.epochs 0"
        )
    raise UserError(f"{run.root} was made with other settings: {said}; {advice}")


def _is_after_training(name: str) -> bool:
    """Whether a setting decides something, but not the supernet."""
    files = decides(name)
    return bool(files) and trained.FILES[0] not in files


def _change(name: str, was: Any, now: Any) -> str:
    return (
        f"{name} {_json(was)} -> {_json(now)}"
        if was != now
        else f"{name} {_json(now)}, which holds something else now"
    )


def _json(value: Any) -> str:
    return "not set" if value is None else json.dumps(plain(value), ensure_ascii=False)


def _flat(config: Config) -> dict[str, Any]:
    return _flat_values(plain(asdict(without_unread(config))))


def _flat_values(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as {dotted path: setting}."""
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    return {
        name: text
        for key, item in value.items()
        for name, text in _flat_values(item, f"{prefix}.{key}".lstrip(".")).items()
    }
