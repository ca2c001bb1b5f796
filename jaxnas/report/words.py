"""Numbers, genomes and comparisons as a reader wants them."""

import math
from collections.abc import Mapping, Sequence


def significant(value: float | None) -> str:
    """Three significant digits; a dash for NaN, and for None, which is NaN in a JSON file.

    >>> significant(0.21), significant(1234.5), significant(float("nan"))
    ('0.210', '1,234', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def percent(fraction: float | None) -> str:
    """A fraction in percent, one decimal; a dash for NaN and None.

    >>> percent(0.9312)
    '93.1 %'
    """
    return "–" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.1f} %"


def signed_percent(fraction: float) -> str:
    """A relative difference in percent, with its sign.

    >>> signed_percent(-0.034), signed_percent(0.02)
    ('−3.4 %', '+2.0 %')
    """
    return (
        ("−" if fraction < 0 else "+") + percent(abs(fraction)) if math.isfinite(fraction) else "–"
    )


def quantity(value: float) -> str:
    """A count in thousands or millions, three significant digits.

    >>> quantity(312), quantity(45_678), quantity(1_234_567)
    ('312', '45.7 k', '1.23 M')
    """
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return significant(value / size) + unit
    return f"{value:.0f}" if math.isfinite(value) else "–"


def genome_in_words(network: Mapping[str, int | str]) -> str:
    """Values of all genes, grouped by the last part of their names.

    >>> genome_in_words({"resolution": 16, "mb1_width": 8, "mb2_width": 16, "mb1_kernel": 3})
    'resolution 16 | widths 8 16 | kernel 3'
    """
    groups: dict[str, list[str]] = {}
    for gene, value in network.items():
        groups.setdefault(gene.rsplit("_", 1)[-1], []).append(str(value))
    return " | ".join(
        f"{kind}{'s' * (len(values) > 1)} {' '.join(values)}" for kind, values in groups.items()
    )


def chip_in_words(chip: Mapping[str, int]) -> str:
    """What a genome chooses of the chip, to follow its network; nothing where it chooses none.

    >>> chip_in_words({"memory_bytes": 65536, "macs_per_cycle": 64}), chip_in_words({})
    (' | chip: memory_bytes 65536, macs_per_cycle 64', '')
    """
    chosen = ", ".join(f"{name} {value}" for name, value in chip.items())
    return f" | chip: {chosen}" if chip else ""


def listed(words: Sequence[str]) -> str:
    """Words with commas and an "and".

    >>> listed(["A"]), listed(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of a table in columns, for a terminal.

    >>> aligned([["a", "b"], ["long", "c"]])
    ['a     b', 'long  c']
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy measured on `n` images (Wilson 1927).

    >>> [round(end, 3) for end in interval(0.9, 100)]
    [0.826, 0.945]
    """
    z = 1.96
    centre = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def verdict(found: float, sampled: float) -> str:
    """The search against random sampling, in words.

    >>> verdict(1.1, 1.0), verdict(0.9, 1.0)
    ('10.0 % more than random sampling', '10.0 % less than random sampling')
    """
    if found == sampled:
        return "as much as random sampling"
    ratio = found / sampled if sampled else math.inf
    return f"{percent(abs(ratio - 1))} {'more' if ratio > 1 else 'less'} than random sampling"
