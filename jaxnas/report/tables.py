"""The table of a comparison: for a terminal, and for LaTeX."""

from collections.abc import Sequence
from typing import Any

from jaxnas.report import words
from jaxnas.studies.statistics import LEVEL, Comparison

# What LaTeX would not print as it stands.
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    letter: f"\\{letter}" for letter in "&%$#_{}"
}


def text_table(answered: str, measured: str, rows: list[dict[str, Any]]) -> str:
    """What the page says, for a terminal."""
    first = rows[0]["algorithm"]
    front = [("regret", "regret"), ("igd_plus", "IGD+")] if "regret" in rows[0] else []
    head = ["", "algorithm", "median", "quartiles", *(title for _, title in front)]
    lines = [[*head, "p random", "A12 random", f"p {first}", f"A12 {first}"]]
    for row in rows:
        figures = [row[field] for field, _ in front]
        figures += [
            row[f"{field}_{label}"] for label in ("random", "first") for field in Comparison._fields
        ]
        spread = f"{row['q1']:.2f} to {row['q3']:.2f}"
        mark = "*" if row["leads"] else ""
        lines.append(
            [
                mark,
                row["algorithm"],
                f"{row['median']:.2f}",
                spread,
                *(words.significant(value) for value in figures),
            ]
        )
    legend = [
        f"{measured} {rows[0]['seeds']} seeds each.",
        f"*: no other is shown to be better (p below {LEVEL}).",
        "p: Mann-Whitney, corrected after Holm for all pairs; A12: share of pairs won.",
    ]
    return "\n".join([answered, *words.aligned(lines), *legend])


def latex_table(rows: Sequence[dict[str, Any]], measured: str) -> str:
    """The same as a tabular of booktabs, the algorithms that lead in bold."""
    known = "regret" in rows[0]
    head = ["Algorithm", "Median", "Quartiles"]
    head += ["Regret", "IGD$^+$"] if known else []
    head += ["$p$", "$A_{12}$"]
    lines = [
        f"% {measured}",
        f"% Medians of {rows[0]['seeds']} seeds, in percent; p and A12 against random search;",
        f"% bold: no other is shown to be better (p below {LEVEL}, corrected after Holm).",
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{lr{'r' * (len(head) - 2)}}}",
        r"\toprule",
        rf"{' & '.join(head)} \\",
        r"\midrule",
        *(_latex_row(row, known) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(row: dict[str, Any], known: bool) -> str:
    name = in_latex(row["algorithm"])
    figures = [f"{row['median']:.2f}", f"{row['q1']:.2f}--{row['q3']:.2f}"]
    names = [*(("regret", "igd_plus") if known else ()), "p_random", "a12_random"]
    figures += [in_latex(words.significant(row[field])) for field in names]
    cells = [rf"\textbf{{{name}}}" if row["leads"] else name, *figures]
    return rf"{' & '.join(cells)} \\"


def in_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> in_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in text)
