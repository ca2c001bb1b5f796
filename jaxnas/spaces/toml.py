"""A user's own space, from a TOML file.

The file sets the fields of `MobileNet`, or with family = "residual" those of `Residual`, and so on,
but for channels and classes, which the images decide; `resolutions` are the images' own size unless
given, in pixels. `stages` is an array of tables that set the fields of a stage.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from jaxnas import toml_files
from jaxnas.errors import UserError, choose
from jaxnas.spaces.fire import fire_space
from jaxnas.spaces.fire_structure import Fire, FireStage
from jaxnas.spaces.hierarchical import hierarchical_space
from jaxnas.spaces.hierarchical_structure import Hierarchical, HierarchicalStage
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.residual import residual_space
from jaxnas.spaces.residual_structure import Residual, ResidualStage
from jaxnas.spaces.space import Space

FAMILIES: dict[str, tuple[type, type, Callable[..., Space]]] = {
    "mobilenet": (MobileNet, Stage, mobilenet_space),
    "residual": (Residual, ResidualStage, residual_space),
    "hierarchical": (Hierarchical, HierarchicalStage, hierarchical_space),
    "fire": (Fire, FireStage, fire_space),
}


def load(path: str, image_size: int, channels: int, classes: int) -> Space:
    """The space that a file describes, named after the file, for images of this size.

    A `UserError` names the file, the setting, and what was expected.
    """
    settings = toml_files.read(path, "space")
    name = settings.pop("family", "mobilenet")
    structure, stage, build = choose(f"{path}: family", str(name), FAMILIES)
    stages = settings.pop("stages", None)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise UserError(
            f"{path}: stages must be a list of tables like {{{fields(stage)[0].name} = [16, 24], "
            f"...}}, got {stages}"
        )
    images = {"channels": channels, "classes": classes}
    settings = {"resolutions": [image_size], **settings}
    built = tuple(
        toml_files.made(stage, f"{path}: stage {i}", row, {}) for i, row in enumerate(stages, 1)
    )
    net = toml_files.made(structure, path, settings, {"stages": built, **images})
    try:
        return build(Path(path).stem, net)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
