import jax
import numpy as np

from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import pearson
from jaxnas.predictors.trees import Trees
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (8, 16, 24)) for i in range(6)))


def test_trees_see_what_genes_do_together():
    """Two genes of the same choice are slow: nothing that tables of single genes could say."""
    genomes = np.asarray(uniform_sample(jax.random.key(0), SPACE, 600, np.zeros((0, 6), np.int32)))
    ms = np.where(genomes[:, 0] == genomes[:, 1], 3.0, 1.0).astype(np.float32) + 0.1 * genomes[:, 2]
    used = np.ones((1, 400), bool)
    models = [
        method.fit(jax.random.key(0), SPACE, genomes[:400], ms[:400], used)
        for method in (Trees(), Lookup())
    ]
    trees, tables = (np.asarray(model.predict(genomes[400:]))[0] for model in models)
    assert pearson(ms[400:], trees) > 0.98
    assert pearson(ms[400:], tables) < 0.5
