"""The weights that a supernet starts from.

Those that come with jaxnas, those of another run, or a published checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxnas.data.preparation import PUBLISHED, Preparation
from jaxnas.errors import UserError
from jaxnas.supernets.heads import path_of_head
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.weights import published_mobilenet, trained
from jaxnas.weights.tensor_files import SUFFIXES


class Origin(NamedTuple):
    """What is known of initial weights before they are read."""

    fresh: bool  # whether the classifier starts from random numbers, as it does for other classes
    lines: tuple[str, ...]  # that tell the user
    prepared: Preparation


def look(name: str, net: Supernet, class_names: tuple[str, ...]) -> Origin:
    """What the weights of this name are for a supernet and its data, by names and shapes alone.

    Raises:
        UserError: there are none of this name; they are damaged, or of another space.
    """
    return (
        _look_trained(name, net, class_names)
        if _is_trained(name)
        else _look_published(name, net, len(class_names))
    )


def load(
    name: str, net: Supernet, class_names: tuple[str, ...], classifier: Mapping[str, Any]
) -> Params:
    """These weights as parameters of `net`.

    `classifier` replaces their own where `look` says that it is fresh.
    """
    fresh = look(name, net, class_names).fresh
    if not _is_trained(name):
        return published_mobilenet.load(name, net, classifier if fresh else None).params
    params = trained.load(name, net).params
    return {**params, path_of_head(net.space): classifier} if fresh else params


def _is_trained(name: str) -> bool:
    return name.endswith(SUFFIXES) or name in trained.shipped()


def _look_trained(name: str, net: Supernet, class_names: tuple[str, ...]) -> Origin:
    theirs, prepared = trained.look(name, net)
    if theirs == class_names:
        numbered = all(one.isdigit() for one in theirs)
        same = (
            "which have numbers for names, so whether they are the same cannot be checked"
            if numbered
            else "the same ones"
        )
        return Origin(
            False, (f"classifier of {name} kept: {len(theirs)} classes, {same}",), prepared
        )
    shown = ", ".join(one[:40] for one in theirs[:3]) + ", ..." * (len(theirs) > 3)
    return Origin(
        True,
        (
            (
                f"fresh classifier: {name} tells apart {len(theirs)} classes ({shown}), not the "
                f"{len(class_names)} of the data"
            ),
        ),
        prepared,
    )


def _look_published(name: str, net: Supernet, classes: int) -> Origin:
    if not Path(name).is_file():
        known = ", ".join(trained.shipped())
        raise UserError(
            f"unknown weights {name!r}; known: {known}, the path of a run's {trained.FILES[0]}, or "
            "that of a published checkpoint"
        )
    about = published_mobilenet.look(name, net)
    lines = [published_mobilenet.notice(about)]
    if about.others:
        lines.append(f"{name} has {about.key} and {', '.join(about.others)}: {about.key} is taken")
    if about.classes == classes:
        lines.append(
            f"classifier of the checkpoint kept: {classes} classes, their order cannot be checked"
        )
    else:
        theirs = "has none" if about.classes is None else f"tells apart {about.classes} classes"
        lines.append(f"fresh classifier: the checkpoint {theirs}, the data have {classes}")
    return Origin(about.classes != classes, tuple(lines), PUBLISHED[about.family])
