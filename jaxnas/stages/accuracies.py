"""How accurate some subnets are while the supernet trains."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.stages.evaluation import search_split
from jaxnas.stages.job import Job
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import accuracies


class Accuracies:
    """The largest subnet, the smallest and so many random ones, the same after every epoch.

    They are evaluated as a search evaluates its candidates, on its images.
    """

    def __init__(self, job: Job):
        self.net = job.trained_net
        space = self.net.space
        drawn = space.sample(job.key("watch"), job.config.train.evaluated_subnets)
        self.genomes = jnp.concatenate(
            [jnp.stack([jnp.asarray(space.largest), jnp.asarray(space.smallest)]), drawn]
        )
        pixels = np.array([space.pixels(one) for one in np.asarray(self.genomes)])
        split = search_split(job)
        self.parts = [
            (jnp.asarray(pixels == size), job.examples(split, int(size)))
            for size in np.unique(pixels)
        ]
        memory_gib = job.config.search.memory_gib
        self.evaluate = jax.jit(partial(accuracies, self.net, memory_gib=memory_gib))

    def __call__(self, params: Params) -> dict[str, float]:
        """Shares of the images; of the random subnets their mean."""
        found = [self.evaluate(params, self.genomes, live, some) for live, some in self.parts]
        largest, smallest, *drawn = np.nanmax(np.array(found), axis=0).tolist()
        return {
            "accuracy_largest": largest,
            "accuracy_smallest": smallest,
            "accuracy_random": float(np.mean(drawn)),
        }
