"""What settings differ from those of a run, and whether that is allowed."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.records.files import decides
from jaxnas.records.inputs import INPUTS, Inputs, read_inputs, write_inputs
from jaxnas.records.line_files import plain
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.space import Space
from jaxnas.stages.job import space_settings
from jaxnas.stages.settings import begun_in, inputs_of, located, recorded_settings
from jaxnas.stages.unread import without_unread
from jaxnas.weights import trained

PLACES = ("data.source", "data.data_dir", "space", "weights", "profile.device", "search.initial")


def check_same_settings(run: RunDirectory, config: Config) -> None:
    """Refuses settings that differ from those of the run.

    Whatever the files that they name hold.
    """
    if not run.exists("config.json"):
        return
    changes = _other_settings(recorded_settings(run), config)
    # A place is named beside them, as the reason why its own settings differ.
    if not changes.keys() <= set(PLACES):
        _refuse(run, changes)


def differences(run: RunDirectory, config: Config, space: Space) -> dict[str, tuple[Any, Any]]:
    """{setting: what the run has, what is asked for}, of all that differ and decide something.

    Of a place that a setting names what it holds counts.
    """
    recorded = recorded_settings(run)
    changes = _other_settings(recorded, config)
    return (
        {name: both for name, both in changes.items() if name not in PLACES}
        | _other_inputs(recorded, config, read_inputs(run), inputs_of(config, space))
        | _other_space(run, recorded, config, plain(space_settings(space)))
    )


def _other_settings(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    before = _flat(old)
    now = _flat(new)
    return {
        name: (before[name], now[name])
        for name in now
        if decides(name) and before[name] != now[name]
    }


def keep_settings(run: RunDirectory, config: Config, space: Space) -> None:
    """Write what a new run is.

    Of one that exists, write where its files lie now, and refuse files that hold something else.
    """
    inputs = inputs_of(config, space)
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
        moved = without_unread(located(recorded, begun_in(run))) != config
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


def _refuse(run: RunDirectory, changes: Mapping[str, tuple[Any, Any]]) -> None:
    if not changes:
        return
    obstacles = {name: both for name, both in changes.items() if not is_after_training(name)}
    changes = obstacles or changes
    said = ", ".join(change_in_words(name, was, now) for name, (was, now) in changes.items())
    advice = "use another --out, or restore them"
    supernet = next(filter(run.exists, trained.FILES), None)
    if supernet and all(map(is_after_training, changes)):
        weights = shlex.quote(f"{run.root}/{supernet}")
        advice = (
            "restore them; `jaxnas run` does again what they decide; or keep the training in a new "
            f"run: --out NEW --weights {weights} --train.epochs 0"
        )
    raise UserError(f"{run.root} was made with other settings: {said}; {advice}")


def is_after_training(name: str) -> bool:
    """Whether a setting decides something, but not the supernet."""
    files = decides(name)
    return bool(files) and trained.FILES[0] not in files


def change_in_words(name: str, was: Any, now: Any) -> str:
    """A setting that differs."""
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
