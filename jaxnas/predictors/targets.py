"""Figures of any kind that a network is to learn: refused, or brought to one scale."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError

LEAST = 2  # networks to learn from: one says of no feature what it does


def standard(
    columns: Float[np.ndarray, "n outputs"], used: Bool[np.ndarray, "k n"], positive: bool
) -> tuple[Float[Array, "k n outputs"], Float[Array, "k outputs"], Float[Array, "k outputs"]]:
    """Targets in standard deviations, means and deviations, by the networks that each uses."""
    figures = np.log(columns) if positive else np.asarray(columns, np.float64)
    mean = np.stack([figures[row].mean(axis=0) for row in used])
    deviation = np.stack([figures[row].std(axis=0) for row in used])
    targets = (figures - mean[:, None]) / deviation[:, None]
    return (
        jnp.asarray(targets, jnp.float32),
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(deviation, jnp.float32),
    )


def check_targets(
    columns: Float[np.ndarray, "n outputs"], used: Bool[np.ndarray, "k n"], positive: bool
) -> None:
    """Refuses, in one line each, what a network cannot learn from.

    Too few networks, figures that are not finite or should be above 0, and such as are all equal.
    """
    least = int(used.sum(axis=1).min(initial=len(columns)))
    if least < LEAST:
        raise UserError(
            f"a network over encodings learns from {LEAST} networks or more, got {least}: measure "
            "more"
        )
    wrong = ~np.isfinite(columns) | ((columns <= 0) & positive)
    if wrong.any():
        what = "finite and above 0" if positive else "finite"
        raise UserError(
            f"training targets must be {what}, got {columns[wrong][0]} ({wrong.sum()} such): leave "
            "failed measurements out"
        )
    for row in used:
        if (columns[row].min(axis=0) == columns[row].max(axis=0)).any():
            raise UserError(
                f"all training targets of {row.sum()} networks are alike: there is nothing to "
                "learn from, measure networks that differ"
            )
