"""The drawing of a network: its parts, their costs, and milliseconds where a table has them."""

import re

import numpy as np

from jaxnas.records.layers import LayerEntry, write_layers
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.drawing import blocks_of, drawn
from jaxnas.report.spelled import Spelled


def spelling(space):
    genes = tuple({"name": gene.name, "choices": gene.choices} for gene in space.genes)
    return Spelled(genes, space)


def test_parts_add_up_to_the_network(small_mobilenet, tmp_path):
    space = small_mobilenet((8,), 1, 10)
    for genome in (space.smallest, space.largest):
        blocks = blocks_of(spelling(space), genome, RunDirectory(tmp_path))
        assert sum(block.macs for block in blocks) == int(space.costs(genome[None]).macs[0])
        svg = str(drawn(blocks, "a <network>"))
        assert svg.count("<g>") == len(blocks) and "a &lt;network&gt;" in svg
    assert len({block.name for block in blocks}) == len(blocks)


def test_milliseconds_are_those_of_the_choices(small_mobilenet, tmp_path):
    space = small_mobilenet((8,), 1, 10)
    term = next(one for one in space.terms if one.genes)
    parts = " ".join(space.parts[i].name for i in term.parts)
    with RunDirectory(tmp_path) as run:
        entries = []
        for row, choice in enumerate((0, -1)):
            genes = [space.genes[i] for i in term.genes]
            choices = " ".join(f"{gene.name}={gene.choices[choice]}" for gene in genes)
            entries.append(LayerEntry(parts, choices, 0.25 * (row + 1), 3))
        write_layers(run, entries)
        for genome, ms in ((space.smallest, 0.25), (space.largest, 0.5)):
            blocks = blocks_of(spelling(space), np.asarray(genome), run)
            assert [block.ms for block in blocks if block.ms is not None] == [ms]
            assert re.search(rf">{ms:.3f}</text>", str(drawn(blocks, "")))
