"""What makes genomes the same."""

import numpy as np
import pytest

from jaxnas.spaces.gene import Gene
from jaxnas.spaces.genomes import (
    check_genomes,
    distinct,
    first_rows,
    from_text,
    key_of,
    network_numbers,
    to_text,
)
from jaxnas.spaces.space import Space

SPACE = Space("toy", (Gene("depth", (1, 2)), Gene("second", (3, 5), needs=("depth", (2,)))))
# Without depth 2 the second gene does not matter, so that rows 1 and 2 are one network.
GENOMES = np.array([[1, 1], [0, 1], [0, 0], [1, 1], [1, 0]], np.int32)


def test_text_and_key_tell_all_genomes_apart():
    for genome in GENOMES:
        np.testing.assert_array_equal(from_text(to_text(genome)), genome)
    assert len(set(map(key_of, GENOMES))) == len(set(map(to_text, GENOMES))) == 4
    assert key_of(GENOMES[0].astype(np.int64)) == key_of(GENOMES[3])


@pytest.mark.parametrize("text", ["", "0 -1", "0 1.5", "x", f"0 {2**31}"])
def test_what_spells_no_genome_is_refused(text):
    with pytest.raises(ValueError):
        from_text(text)


def test_genes_that_do_not_matter_make_no_other_network():
    assert distinct(SPACE, GENOMES).tolist() == [[1, 1], [0, 0], [1, 0]]
    assert first_rows(SPACE, GENOMES).tolist() == [0, 1, 4]
    numbers = network_numbers(SPACE, GENOMES)
    assert numbers[1] == numbers[2] and numbers[0] == numbers[3] and len(set(numbers)) == 3


@pytest.mark.parametrize("rows", [[[0]], [[0, 2]], [[0, 0], [-1, 0]]])
def test_rows_of_another_space_are_refused(rows):
    check_genomes(SPACE, GENOMES)
    with pytest.raises(ValueError, match="not of toy"):
        check_genomes(SPACE, np.array(rows, np.int32))
