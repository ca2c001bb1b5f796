"""The comparison of algorithms.

From compare/compare.npz to tables, figures and a page, compare/compare.html.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms.indicators import igd_plus
from jaxnas.errors import UserError
from jaxnas.records.candidates import FIGURE
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import critical, papers, words
from jaxnas.report.charts import Chart, algorithm_curves, predictions
from jaxnas.report.compare_charts import Curves, attainments, hypervolume
from jaxnas.report.pages import rendered
from jaxnas.report.said import Said
from jaxnas.report.tables import latex_table, text_table
from jaxnas.studies.statistics import (
    LEVEL,
    Comparison,
    compare_all,
    estimated_curve,
    hypervolume_curve,
    is_better,
    leaders,
    least_seeds,
)

EXACT = 3  # objectives whose hypervolume is exact; of more it is estimated
NOT_ITSELF = Comparison(np.nan, np.nan)


class Scale(NamedTuple):
    """What objectives and hypervolume are measured by.

    Nothing in it depends on the algorithms compared.
    """

    best: Float[np.ndarray, "objectives"]
    reference: Float[np.ndarray, "objectives"]
    front: Float[np.ndarray, "points objectives"] | None

    def scaled(
        self, fitness: Float[np.ndarray, "*rows objectives"]
    ) -> Float[np.ndarray, "*rows objectives"]:
        """From 0 for the best value to 1 for the reference's."""
        extent = np.where(self.reference > self.best, self.reference - self.best, 1)
        return ((fitness - self.best) / extent).astype(np.float32)


def write_comparison(run: RunDirectory) -> str:
    """Write tables, compare.html, and its figures for papers, beside compare.npz.

    Returns the answer and the table as text.
    """
    arrays = run.read_npz("compare/compare.npz")
    names = arrays["algorithms"].tolist()
    fitness = {name: feasible(arrays, name) for name in names}
    scale = read_scale(arrays)
    curves = {name: _curves(fitness[name], arrays[f"{name}_generation"], scale) for name in names}
    final = {name: one.hypervolume[:, -1] for name, one in curves.items()}
    pairs = compare_all(final)
    rows = comparison_rows(final, pairs)
    if scale.front is not None:
        for row in rows:
            row |= _against_front(fitness[row["algorithm"]], final[row["algorithm"]], scale)
    labels = _labels(arrays)
    said = {name: _said(arrays, name, curves[name].evaluations) for name in names}
    charts = _charts(curves, fitness, said, labels, scale)
    found = critical.diagram(pairs)
    drawn = {name: papers.formats(papers.figure(one)) for name, one in charts.items()}
    drawn["critical"] = papers.formats(critical.figure(found))
    for name, contents in drawn.items():
        for kind, content in contents.items():
            run.write_bytes(f"compare/{name}.{kind}", content)
    run.write_csv("compare/compare.csv", rows)
    run.write_csv(
        "compare/pairs.csv",
        [{"first": a, "second": b, **one._asdict()} for (a, b), one in pairs.items()],
    )
    page = {
        "name": run.root.resolve().name,
        "space": str(arrays["space"]) if "space" in arrays else None,
        "labels": labels,
        "answer": answer(rows, pairs),
        "measure": measure(scale, labels, max(one.error for one in curves.values()))
        + said_feasible(arrays, fitness),
        "rows": rows,
        "front_known": scale.front is not None,
        "seeds": arrays["seed"].tolist(),
        "evaluations": int(curves[names[0]].evaluations[-1]),
        "failed": sum(
            int(np.isnan(arrays[f"{name}_fitness"]).any(axis=-1).sum()) for name in names
        ),
        "correlations": [
            {"algorithm": name, "taus": [one.correlation(i) for i in range(len(labels))]}
            for name, one in said.items()
            if one.predicted is not None
        ],
        "initial": len(arrays["initial"]) if "initial" in arrays else 0,
        "same_start": "same_start" in arrays,
        "apart": words.listed(arrays["apart"].tolist() if "apart" in arrays else []),
        "level": LEVEL,
        "charts": [*charts],
        "critical": critical.drawn(found),
        "groups": [found.names[a : b + 1] for a, b in found.groups],
    }
    run.write_text("compare/compare.tex", latex_table(rows, page["measure"]))
    text = rendered("compare.html.jinja", page, ("chart.js",), {"charts": charts})
    run.write_text("compare/compare.html", text)
    return text_table(page["answer"], page["measure"], rows)


def _charts(
    curves: Mapping[str, Curves],
    fitness: Mapping[str, Float[np.ndarray, "seeds n m"]],
    said: Mapping[str, Said],
    labels: list[str],
    scale: Scale,
) -> dict[str, Chart]:
    """Those that there is anything to draw in."""
    charts = {"hypervolume": hypervolume(curves, scale.front is not None)}
    found = {name: one for name, one in fitness.items() if not np.isnan(one).all()}
    if len(labels) == 2:
        charts["attainment"] = attainments(found, labels)
    return charts | algorithm_curves(said) | predictions(said, labels)


def feasible(arrays: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "seeds n m"]:
    """The objectives of an algorithm's feasible candidates, NaN of the others."""
    count = len(arrays["objectives"])
    fitness = arrays[f"{name}_fitness"]
    kept = (fitness[..., count:] <= 0).all(axis=-1, keepdims=True)
    return np.where(kept, fitness[..., :count], np.nan)


def said_feasible(
    arrays: Mapping[str, np.ndarray], fitness: Mapping[str, Float[np.ndarray, "seeds n m"]]
) -> str:
    """How many candidates of each algorithm are feasible, and which seeds found none, in words."""
    if "constraints" not in arrays:
        return ""
    counts = {name: (~np.isnan(one).any(axis=-1)).sum(axis=1) for name, one in fitness.items()}
    each = [f"{name} {np.median(found):g}" for name, found in counts.items()]
    text = (
        f" Candidates count where {', '.join(arrays['constraints'].tolist())} are at most 0: of "
        f"{next(iter(fitness.values())).shape[1]} evaluations, medians, {', '.join(each)}."
    )
    nothing = [
        f"{name} in {(found == 0).sum()} of {len(found)} seeds"
        for name, found in counts.items()
        if (found == 0).any()
    ]
    return text + (f" Nothing feasible was found by {', '.join(nothing)}." if nothing else "")


def read_scale(arrays: Mapping[str, np.ndarray]) -> Scale:
    """By the problem's own reference point and front.

    Else by the best and the worst that the first seed's random search found.
    """
    front = arrays["front"].astype(np.float64) if "front" in arrays else None
    sampled = feasible(arrays, "random")[0].astype(np.float64)
    sampled = sampled[np.isfinite(sampled).all(axis=1)]
    known = front is not None and "reference" in arrays
    if not len(sampled) and not known:
        few = " or is infeasible" if "constraints" in arrays else ""
        raise UserError(
            f"every evaluation of the first seed's random search failed{few}: mend the problem's "
            "fitness, give it a reference and a front, or take another --seed"
        )
    reference = arrays["reference"] if "reference" in arrays else sampled.max(axis=0)
    best = (sampled if front is None else front).min(axis=0)
    return Scale(best, np.asarray(reference, np.float64), front)


def comparison_rows(
    final: Mapping[str, Float[np.ndarray, "seeds"]],
    pairs: Mapping[tuple[str, str], Comparison],
) -> list[dict[str, Any]]:
    """A row per algorithm, the largest median first.

    Median and quartiles, whether it leads, and the tests against two others.

    These are random search and the first row; an algorithm is not compared with itself (NaN).
    """
    names = sorted(final, key=lambda name: -np.median(final[name]))
    leading = leaders(pairs)
    rows: list[dict[str, Any]] = []
    for name in names:
        q1, median, q3 = np.quantile(final[name], [0.25, 0.5, 0.75]).tolist()
        row = {
            "algorithm": name,
            "seeds": len(final[name]),
            "median": median,
            "q1": q1,
            "q3": q3,
            "leads": name in leading,
        }
        for label, other in (("random", "random"), ("first", names[0])):
            row |= {
                f"{field}_{label}": value
                for field, value in pairs.get((name, other), NOT_ITSELF)._asdict().items()
            }
        rows.append(row)
    return rows


def answer(rows: list[dict[str, Any]], pairs: Mapping[tuple[str, str], Comparison]) -> str:
    """Who leads, in words: all that no other is shown to be better than."""
    leading = [row["algorithm"] for row in rows if row["leads"]]
    seeds = rows[0]["seeds"]
    enough = least_seeds(len(rows))
    if len(leading) == len(rows):
        few = (
            f" {seeds} seeds are too few for that: take {enough} or more." if seeds < enough else ""
        )
        return f"No difference between the {len(rows)} algorithms is shown.{few}"
    if not leading:
        return "None leads: each algorithm is shown to be worse than another."
    if len(leading) > 1:
        luck = " Random search is among them." if "random" in leading else ""
        return f"{_listed(leading)} lead; no difference between them is shown.{luck}"
    others = [row["algorithm"] for row in rows if not row["leads"]]
    if all(is_better(pairs[leading[0], other]) for other in others):
        return (
            f"{leading[0]} leads: it is shown to be better than "
            f"{'each of the others' if len(others) > 1 else others[0]}."
        )
    return f"{leading[0]} leads: each of the others is shown to be worse than some algorithm."


def measure(scale: Scale, labels: Sequence[str], error: float) -> str:
    """What hypervolume means here, in words."""
    corner = ", ".join(
        f"{label} {words.significant(value)}"
        for label, value in zip(labels, scale.reference.tolist(), strict=True)
    )
    if scale.front is not None:
        text = (
            f"Hypervolume in % of the true front's, below the reference point ({corner}); regret "
            "is what is missing."
        )
    else:
        best = ", ".join(
            f"{label} {words.significant(value)}"
            for label, value in zip(labels, scale.best.tolist(), strict=True)
        )
        text = (
            f"Hypervolume in % of the box from the reference point ({corner}) to the best values "
            f"({best}), which the first seed's random search found; better ones count beyond 100 %."
        )
        if len(labels) == 1:
            text += " Of one objective it is how far the best value lies below the reference."
    if error:
        text += (
            f" It is estimated, with a standard error of at most {words.significant(error)} "
            "percentage points for a search, less for a difference."
        )
    return text


def _listed(names: Sequence[str]) -> str:
    """
    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _labels(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Objectives with their units, where they are known."""
    objectives = arrays["objectives"].tolist()
    units = arrays["units"].tolist() if "units" in arrays else [""] * len(objectives)
    return [_labelled(name, unit) for name, unit in zip(objectives, units, strict=True)]


def _labelled(name: str, unit: str) -> str:
    """
    >>> _labelled("latency_ms", "ms"), _labelled("cost", "ms"), _labelled("latency_ms", "")
    ('latency (ms)', 'cost (ms)', 'latency_ms')
    """
    return f"{name.removesuffix(f'_{unit}')} ({unit})" if unit else name


def _said(arrays: Mapping[str, np.ndarray], name: str, evaluations: Int[np.ndarray, "g"]) -> Said:
    """What an algorithm says of itself; archives of older comparisons have nothing of it."""
    begins = f"{name}_{FIGURE}"
    figures = {
        one.removeprefix(begins): array for one, array in arrays.items() if one.startswith(begins)
    }
    objectives = len(arrays["objectives"])
    return Said(evaluations, figures, arrays[f"{name}_fitness"][..., :objectives])


def _curves(
    fitness: Float[np.ndarray, "seeds n m"], generation: Int[np.ndarray, "seeds n"], scale: Scale
) -> Curves:
    whole = 1.0
    if scale.front is not None:
        whole = (
            float(_grown(scale.scaled(scale.front), np.zeros(len(scale.front), np.int32))[0][-1])
            or 1.0
        )
    found = [
        _grown(rows, told) for rows, told in zip(scale.scaled(fitness), generation, strict=True)
    ]
    grown = np.array([100 * curve / whole for curve, _ in found], np.float64)
    return Curves(
        np.cumsum(np.bincount(generation[0])), grown, 100 * max(error for _, error in found) / whole
    )


def _grown(
    scaled: Float[np.ndarray, "n m"], generation: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "g"], float]:
    """The hypervolume until each generation, and the standard error of the last."""
    ones = np.ones(scaled.shape[1], np.float32)
    if len(ones) <= EXACT:
        return hypervolume_curve(scaled, generation, ones), 0.0
    curve, error = estimated_curve(scaled, generation, ones)
    return curve, float(error[-1])


_igd_plus = jax.jit(igd_plus)


def _against_front(
    fitness: Float[np.ndarray, "seeds n m"], final: Float[np.ndarray, "seeds"], scale: Scale
) -> dict[str, float]:
    """Medians of the regret, in percent, and of IGD+ in units of the scale."""
    assert scale.front is not None
    front = jnp.asarray(scale.scaled(scale.front))
    distance = [float(_igd_plus(jnp.asarray(rows), front)) for rows in scale.scaled(fitness)]
    return {"regret": float(np.median(100 - final)), "igd_plus": float(np.median(distance))}
