import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space
from jaxnas.training.fair import Fair, fair_genomes


@pytest.fixture(scope="module")
def draws():
    """1,000 steps in a space of genes of 5, 5, 2, 3 and 1 choices."""
    genes = (Gene(f"g{i}", tuple(range(n)), "operation") for i, n in enumerate((5, 5, 2, 3, 1)))
    space = Space("uneven", tuple(genes))
    keys = jax.random.split(jax.random.key(0), 1000)
    return np.asarray(jax.jit(jax.vmap(lambda key: fair_genomes(key, space)))(keys))


def test_a_step_has_every_choice_equally_often(draws):
    counts = [(draws[..., None] == np.arange(5)).sum(1)[:, i] for i in range(5)]
    assert draws.shape == (1000, 5, 5)
    assert (counts[0] == 1).all() and (counts[1] == 1).all()
    assert set(np.unique(counts[2][:, :2])) == {2, 3} and set(np.unique(counts[3][:, :3])) == {1, 2}
    assert (counts[4][:, 0] == 5).all()


def test_over_many_steps_no_choice_and_no_pair_of_choices_is_rarer(draws):
    for i, size in enumerate((5, 5, 2, 3)):
        shares = np.bincount(draws[..., i].ravel()) / 5000
        np.testing.assert_allclose(shares, 1 / size, atol=0.03)
    pairs = np.bincount((5 * draws[..., 0] + draws[..., 1]).ravel(), minlength=25) / 5000
    np.testing.assert_allclose(pairs, 1 / 25, atol=0.012)


def test_a_gene_of_more_choices_than_a_step_can_train_is_refused():
    def uneven(choices: int) -> Space:
        return Space("many", (Gene("edge", (0, 1)), Gene("width", tuple(range(1, choices + 1)))))

    Fair().check(uneven(1000))
    with pytest.raises(UserError, match="width of many has 1001, more than 1000: choose another"):
        Fair().check(uneven(1001))
