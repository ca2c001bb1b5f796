"""What a reader must know before believing a figure.

What knowing nothing gives, luck in the choice, a limit that excludes nothing, int8 that is slower.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnas.records.selection import Selection
from jaxnas.report import words

# Times the float32 latency from which int8 is called slower: beyond the noise of medians.
SLOWER = 1.05


def commonest(sizes: Sequence[int] | None) -> float:
    """The accuracy of always answering the commonest class, by the images of each.

    NaN where not known.
    """
    return max(sizes) / sum(sizes) if sizes and sum(sizes) else math.nan


def about_errors(error: Float[np.ndarray, "n"], images: int, least: float) -> list[str]:
    """Where the search had nothing to go by: errors all alike, or none better than knowing nothing.

    `least` is the error of always answering the commonest class.
    """
    error = error[np.isfinite(error)]
    best = float(error.min())
    worst = float(error.max())
    said = []
    if best == worst:
        said.append(
            f"All {len(error)} candidates have the same error, {words.percent(best)}: the other "
            "objectives alone decided."
        )
    elif words.interval(1 - best, images)[0] <= 1 - worst:
        span = f"{words.percent(best)} to {words.percent(worst)}"
        said.append(
            f"The errors of all {len(error)} candidates ({span}) lie within the 95 % interval of "
            f"the best one on {images} images: the search could hardly tell them apart by accuracy."
        )
    if words.interval(1 - best, images)[0] <= 1 - least:
        said.append(
            "No candidate is shown to be better than always answering the commonest class, which "
            f"gets {words.percent(least)} of the search images wrong."
        )
    return said


def about_limit(limit_ms: float, networks: Sequence[Mapping[str, Any]], said: str) -> str:
    """Which of the chosen keep the limit by their median, and which by 99 % of their runs."""
    keep = [one["letter"] for one in networks if one["ms"] <= limit_ms]
    over = [
        f"{one['letter']} by {words.percent(one['ms'] / limit_ms - 1)}"
        for one in networks
        if one["ms"] > limit_ms
    ]
    surely = [one["letter"] for one in networks if one["p99_ms"] <= limit_ms]
    text = f"The limit is {limit_ms:g} ms. "
    if said == "simulated":
        text += f"Kept, as simulated, by {words.listed(keep) or 'none'}"
    else:
        known = any(math.isfinite(one["median_ms"]) for one in networks)  # older runs have none
        text += (
            f"Kept by the {'median' if known else 'fastest run'} of {words.listed(keep) or 'none'}"
        )
        if any(math.isfinite(one["p99_ms"]) for one in networks):
            text += f", by 99 % of the runs of {words.listed(surely) or 'none'}"
    return text + (f"; exceeded by {words.listed(over)}." if over else ".")


def about_wide_limit(limit_ms: float, slowest_ms: float, space: str, larger: Sequence[str]) -> str:
    """That a limit excludes nothing, or "".

    `larger`: spaces with networks that may come near it.
    """
    if not slowest_ms < limit_ms:
        return ""
    slowest = (
        f"the slowest network of {space} that was measured takes {words.significant(slowest_ms)} ms"
    )
    text = f"The limit of {limit_ms:g} ms excludes nothing: {slowest}."
    if not larger:
        return text
    spaces = words.listed(larger)
    return (
        f"{text} Judged by multiply-adds, {spaces} {'has' if len(larger) == 1 else 'have'} "
        f"networks of about {limit_ms:g} ms (--space)."
    )


def about_optimism(selection: Selection | None, held_out: int) -> str:
    """How much better the front's networks looked on the images searched than on those held out."""
    if selection is None:
        return (
            "This run held no images out for the choice: its networks were chosen on the images "
            "that the search ranked them on, where the best of many candidates look better than "
            "they are."
        )
    searched = 1 - selection.search_error
    unseen = 1 - selection.selection_error
    kept = np.isfinite(searched) & np.isfinite(unseen)
    if not kept.any():
        return "None of the front's networks could be evaluated on the images held out."
    before = float(searched[kept].mean())
    after = float(unseen[kept].mean())
    return (
        f"Before fine-tuning, networks of the front, {int(kept.sum())} in all, were right on "
        f"{words.percent(before)} of the images that the search ranked them on, and on "
        f"{words.percent(after)} of the {held_out} held out: the search is optimistic by "
        f"{100 * (before - after):.1f} percentage points. Those above were chosen on the images "
        "held out."
    )


def about_int8(networks: Sequence[Mapping[str, Any]]) -> str:
    """That int8 is slower than float32, where it is; empty where it is not, or was not measured."""
    slow = [one for one in networks if one["int8_slowdown"] > SLOWER]
    if not slow:
        return ""
    letters = words.listed([one["letter"] for one in slow])
    times = words.listed([words.significant(one["int8_slowdown"]) for one in slow])
    verb = "takes" if len(slow) == 1 else "take"
    return f"As int8, {letters} {verb} {times} times as long as in float32."
