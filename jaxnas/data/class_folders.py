"""Where a folder's pictures are: in the folders of classes, perhaps in those of splits."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxnas.data.pictures import ENDINGS
from jaxnas.errors import UserError, cannot, printable

# What a folder of a split may be called, in any case.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
SHOWN = 200  # characters of names that an error has

Classes = dict[str, list[Path]]  # the files of each class, both in the order of their names


def class_folders(name: str, root: Path) -> tuple[dict[str, Classes], list[str]]:
    """The files of each class in each split, and a line on those that are no pictures."""
    try:
        root = root.expanduser()
        if not root.is_dir():
            raise UserError(
                f"{name}: no such folder: check the path, which is relative to the working "
                "directory"
            )
        folders = {split: _subfolders(path) for split, path in _split_folders(name, root).items()}
        classes = list(folders["train"])
        if len(classes) < 2:
            raise UserError(
                f"{name} must have a sub-folder for each class, at least 2, got "
                f"{', '.join(map(printable, classes)) or 'none'}: sort the pictures into folders"
            )
        _check_names(name, classes)
        others: list[Path] = []
        splits = {
            split: _files(f"{name}: {split}", classes, found, others)
            for split, found in folders.items()
        }
    except OSError as error:
        raise cannot("read", error.filename or root, error) from error
    except RuntimeError as error:  # a home that is not known
        raise UserError(f"{name} cannot be found ({error}): write the whole path") from error
    if not others:
        return splits, []
    are = (
        "files are no pictures by their names" if len(others) > 1 else "file is no picture by name"
    )
    line = f"{len(others)} {are}, {relative(others[0], root)}" + ", ..." * (len(others) > 1)
    return splits, [line]


def _split_folders(name: str, root: Path) -> dict[str, Path]:
    """The folder of each split, or for all images `root` itself under "train"."""
    found = _subfolders(root)
    named = [one for one in found if one.lower() in SPLITS]
    splits = {SPLITS[one.lower()]: found[one] for one in named}
    others = [one for one in found if one not in named]
    if "train" not in splits or (others and len(named) == 1):  # a class may be called train
        return {"train": root}
    shown = ", ".join(map(printable, found))[:SHOWN]
    if others:
        raise UserError(
            f"{name} has folders of splits beside others, {shown}: leave those of splits "
            "alone, or of classes"
        )
    if len(splits) < len(named):
        raise UserError(f"{name} has two folders for one split, {shown}: leave one of them")
    if "val" in splits and "test" not in splits:
        was = splits["val"].name
        raise UserError(
            f"{name} has {was} but no test, which is used once, at the end: rename {was} to test, "
            "and the search split is taken out of train"
        )
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _subfolders(folder: Path) -> dict[str, Path]:
    return {
        path.name: path
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    }


def _check_names(name: str, classes: Sequence[str]) -> None:
    try:
        "".join(classes).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{name}: names of class folders must be UTF-8, got other bytes: rename them"
        ) from None


def _files(where: str, classes: list[str], folders: dict[str, Path], others: list[Path]) -> Classes:
    """The pictures of each class; what else lies there goes to `others`."""
    if unknown := sorted(folders.keys() - set(classes)):
        raise UserError(
            f"{where} has the class {printable(unknown[0])!r}, which train has not: add it there, "
            "or remove it"
        )
    if missing := [one for one in classes if one not in folders]:
        raise UserError(
            f"{where} lacks the class {printable(missing[0])!r} ({len(missing)} of {len(classes)} "
            "classes): every split needs all of them"
        )
    found = {}
    for one, folder in folders.items():
        files = _below(folder)
        found[one] = [path for path in files if path.suffix.lower() in ENDINGS]
        if not found[one]:
            raise UserError(
                f"{where}: the class {printable(one)!r} has no pictures ({', '.join(ENDINGS)}), "
                f"{len(files)} other files: add some, or remove its folder"
            )
        others += [path for path in files if path.suffix.lower() not in ENDINGS]
    return found


def _below(folder: Path) -> list[Path]:
    """The files in a folder and in those inside it, without hidden ones, in order."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def relative(path: Path, root: Path) -> str:
    """A path below `root`, as it may be shown."""
    return printable(str(path.relative_to(root)))
