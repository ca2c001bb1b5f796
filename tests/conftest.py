"""Strict for every test: a key used twice is an error, shapes and types are checked, warnings are errors (pyproject.toml).

Set in the environment, so that programs started by a test inherit it; the hook must be in place before jaxnas is imported.
"""

import os
from pathlib import Path

from jaxtyping import install_import_hook

CACHE = Path(__file__).parents[1] / ".pytest_cache"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ["JAX_DEBUG_KEY_REUSE"] = "1"
os.environ["MPLBACKEND"] = "agg"

# The tower: an int is welcome where a float is expected.
install_import_hook("jaxnas", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
