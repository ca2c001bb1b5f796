import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.islands import Islands
from jaxnas.algorithms.loop import _ask, _init, _tell, search
from jaxnas.algorithms.variation import Discrete
from jaxnas.errors import UserError


def conflict(genomes, data):
    return jnp.stack([genomes[:, :16].sum(1), -genomes.sum(1)], axis=1).astype(jnp.float32)


def test_the_best_take_the_places_of_the_neighbours_worst(space):
    algorithm = Islands(18, count=3, every=2, migrants=2)
    state = _init(algorithm, jax.random.key(0), space)
    for generation in range(2):
        asked = _ask(algorithm, jax.random.key(generation + 1), space, state)
        before = state
        state = _tell(algorithm, space, state, asked, conflict(asked.genomes, None))
        apart = jax.vmap(lambda s, a, f: algorithm.island.tell(space, s, a, f))(
            before,
            jax.tree.map(lambda array: array.reshape(3, 6, -1), asked),
            conflict(asked.genomes, None).reshape(3, 6, 2),
        )
        members = [
            {tuple(genome) for genome in island.tolist()} for island in np.asarray(apart.genomes)
        ]
        for i in range(3):
            found = {tuple(genome) for genome in np.asarray(state.genomes[i]).tolist()}
            if generation == 0:
                assert found == members[i]
            else:
                guests = {
                    tuple(genome) for genome in np.asarray(apart.genomes[(i - 1) % 3, :2]).tolist()
                }
                kept = {tuple(genome) for genome in np.asarray(apart.genomes[i, :4]).tolist()}
                assert found == guests | kept


def test_parents_are_rows_of_the_whole_archive(space):
    algorithm = Islands(
        18, Discrete(0.0, 0.0), avoid_duplicates=False, count=3, every=2, migrants=2
    )
    archive = search(
        algorithm, space, jax.random.key(0), lambda genomes: np.asarray(conflict(genomes, None)), 8
    )
    copies = archive.parents[18:, 0]
    np.testing.assert_array_equal(archive.genomes[18:], archive.genomes[copies])
    islands = np.arange(len(archive.genomes)) // 6 % 3
    assert (islands[copies] != islands[18:]).any()  # some descend from guests


def test_compiled_equals_driven_from_python(space):
    algorithm = Islands(18, count=3, every=2, migrants=2)
    keys = jax.random.split(jax.random.key(0), 2)
    many = search_many(algorithm, space, keys, conflict, 6)
    for i, key in enumerate(keys):
        alone = search(
            algorithm, space, key, lambda genomes: np.asarray(conflict(genomes, None)), 6
        )
        np.testing.assert_array_equal(many.genomes[i], alone.genomes)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"count": 1}, "islands need count of at least 2"),
        ({"every": 0}, "every of at least 1"),
        ({"migrants": 0}, "migrants of at least 1"),
        ({"population": 30}, "a multiple of 4 from 12 on for the islands, got 30: .* 28 and 32"),
        ({"migrants": 28}, "a multiple of 4 from 116 on for the islands, got 28: .* are 116"),
        ({"limits": (1.0,)}, "limits must be a finite number or None for each of 2 objectives"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Islands(**settings)
