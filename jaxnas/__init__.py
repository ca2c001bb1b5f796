"""Hardware-aware neural architecture search in JAX: the names that most programs need.

The rest lies in the folders.

`jaxnas.pipeline.run_stages` runs the whole job. It keeps to its module: it loads the plotting and
checkpoint libraries, which `import jaxnas` spares you.

The names are listed in jaxnas/public.py, and loaded when the first of them is asked for: `jaxnas
--help` needs no JAX.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxnas.public import *  # noqa: F403
    from jaxnas.public import __all__ as __all__


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and find_spec(f"jaxnas.{name}"):
        return import_module(f"jaxnas.{name}")
    if not name.startswith("__") or name == "__all__":
        public = import_module("jaxnas.public")
        if name in public.__all__ or name == "__all__":
            return getattr(public, name)
    raise AttributeError(f"module 'jaxnas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("jaxnas.public").__all__})
