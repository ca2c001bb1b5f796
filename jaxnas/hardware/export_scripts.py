"""The scripts of tools/export, which run in another interpreter."""

from pathlib import Path


def export_script(name: str) -> Path:
    """The path of a script: in a checkout, or where a wheel puts it."""
    package = Path(__file__).parents[1]
    return next(
        path
        for path in (package / "tools/export" / name, package.parent / "tools/export" / name)
        if path.exists()
    )
