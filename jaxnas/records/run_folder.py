"""The folder of a run.

Whether it may be one, its lock, links in it, and what a killed process left behind.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from jaxnas.errors import UserError, cannot

LOCK = ".lock"
WRITTEN_FIRST = ("config.json", "space.json")  # by which a run is known
# Of a run; those of checkpoints are orbax's.
FOLDERS = ("", "models", "figures", "compare", "compare/searches")
PARTIAL = re.compile(
    r"\.(.+\.(?:json|jsonl|csv|npz|npy|safetensors|onnx|html|png|svg|pdf|tex))\.\d+\.partial"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_folder(root: str | os.PathLike[str]) -> Path:
    """`root` as a path on this machine.

    A URL, an empty name and one that no file can have are a `UserError`.
    """
    name = os.fspath(root)
    if _SCHEME.match(name):
        raise UserError(
            f"a run directory must be a local folder, got {name!r}: write there, and copy it when "
            "the run is finished"
        )
    if not name or "\0" in name:
        raise UserError(
            f"a run directory must be named, got {name!r}: give --out the name of a folder"
        )
    return Path(name)


def refuse_foreign(root: Path) -> None:
    """Refuses a folder that holds something, but no run."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot("write in", root, error) from error
    others = [name for name in names if name != LOCK and not PARTIAL.fullmatch(name)]
    if others and not set(WRITTEN_FIRST) & set(others):
        raise UserError(
            f"{root} is not empty and holds no run: expected {' or '.join(WRITTEN_FIRST)}, found "
            f"{min(others)!r}; use another --out"
        )


def made_folders(root: Path) -> list[Path]:
    """Make a folder and those above it that are missing; those made, the deepest first."""
    missing = [folder for folder in (root, *root.parents) if not os.path.lexists(folder)]
    try:
        for folder in reversed(missing):  # not by parents=True, which calls itself for each
            folder.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot("write in", root, error) from error
    return missing


def locked(root: Path) -> int:
    """Take the lock of a run.

    The descriptor that holds it until it is closed, or the process ends.
    """
    path = root / LOCK
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise cannot("write", path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(lock)
            raise UserError(
                f"{root} is in use by another process; wait until it ends, or use another --out"
            ) from None
        except OSError as error:
            os.close(lock)
            raise cannot("lock", root, error) from error
        os.close(lock)  # of a file that another process has removed meanwhile


def take_back(root: Path, folders: list[Path]) -> None:
    """Remove the lock of a run that nothing was written into, and the folders made for it."""
    with suppress(OSError):
        (root / LOCK).unlink()
        for folder in folders:
            folder.rmdir()


def remove_partials(root: Path) -> None:
    """Delete what a killed process left half written of this run, and nothing else."""
    for name in FOLDERS:
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            for entry in folder.iterdir():
                if PARTIAL.fullmatch(entry.name):
                    with suppress(OSError):
                        entry.unlink()


def refuse_links(root: Path, path: Path) -> None:
    """Refuses a path inside a run that leads through a link to a folder, which may lie anywhere."""
    for place in (path, *path.parents):
        if place == root:
            return
        if place.is_symlink() and (place != path or place.is_dir()):
            raise UserError(
                f"{place} is a link, and a run's folders must lie in it: put the folder itself "
                "there, or use another --out"
            )
