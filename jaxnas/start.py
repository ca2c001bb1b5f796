"""What has to be done before the first program is compiled."""

from __future__ import annotations

import os

from jaxnas import hosts
from jaxnas.errors import UserError, how_to_install


def start_jax(distributed: str | None = None) -> None:
    """Let JAX find its devices.

    What the environment asks of it and is not there ends in one line.
    """
    import jax

    from jaxnas.training.parallel import use_every_core

    use_every_core()
    if distributed is not None:
        hosts.join(distributed)
    # Of JAX_ENABLE_X64: a run is the same whichever shell takes it up.
    jax.config.update("jax_enable_x64", False)
    try:
        jax.devices()
    except Exception as error:  # a RuntimeError, or an AssertionError that says nothing
        platforms = os.environ.get("JAX_PLATFORMS")
        if not platforms:
            raise UserError(f"JAX finds no device ({error}): mend its installation") from error
        raise UserError(
            f"JAX finds no platform {platforms}: unset JAX_PLATFORMS, or {how_to_install('gpu')}"
        ) from error


def keep_compiled_programs() -> None:
    """Compile once per machine: JAX's persistent cache. Matplotlib's is kept beside it.

    Of programs that took 0.02 s to compile, if the environment names no other time.
    """
    import jax

    from jaxnas.records.cache import made_cache_folder

    programs = made_cache_folder("programs")
    fonts = made_cache_folder("matplotlib")
    if programs is not None:
        jax.config.update("jax_compilation_cache_dir", str(programs))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            # A run compiles hundreds of small programs; to read one takes a few milliseconds.
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)
    # Where it cannot write, it takes a temporary folder.
    os.environ.setdefault("MPLCONFIGDIR", str(fonts or os.devnull))
