import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.predictors.features import gene_values, standardisation
from jaxnas.spaces.space import Gene, Space


def test_genes_are_seen_by_value(space):
    values = jax.jit(lambda genomes: gene_values(space, genomes))(jnp.stack([space.smallest, space.largest]))
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values[0], [gene.choices[0] for gene in space.genes])
    np.testing.assert_array_equal(values[1], [gene.choices[-1] for gene in space.genes])


def test_genes_that_do_not_matter_are_0():
    genes = (Gene("depth", (1, 2)), Gene("first", (3, 5)), Gene("second", (3, 5), needs=("depth", 2)))
    values = gene_values(Space("toy", genes), jnp.array([[0, 1, 1], [1, 1, 1], [1, 0, 0]]))
    assert values.tolist() == [[1, 5, 0], [2, 5, 5], [2, 3, 3]]


def test_standardised_genes_have_mean_0_and_deviation_1(space):
    values = gene_values(space, space.sample(jax.random.key(0), 200))
    mean, deviation = standardisation(values)
    standard = np.asarray((values - mean) / deviation)
    one_choice = space.sizes == 1
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0)[~one_choice], 1, rtol=1e-5)
    assert (standard[:, one_choice] == 0).all()
    assert (np.asarray(deviation)[one_choice] == 1).all()
