"""Question: after the same wall time, does a training that learns eight architectures by gradient
leave a better front than a supernet and NSGA-II?

Space `tiny`, digits, the modelled chip raptor_small. `two_stage` trains by the sandwich rule, then
evaluates 50 generations of 28. `joint` trains eight architectures, each for a weight of its own of
the latency, by one sampled path a step (GDAS), and evaluates one generation: the eight networks
derived and 20 random ones. Its epochs are as many as take the same time, training and search
together, programs compiled before. Errors are those of inherited weights, on images that no search
has seen.

Commands: jaxnas run experiments/joint_search.py:two_stage --seed 0 --out runs/two_0
          jaxnas run experiments/joint_search.py:joint --seed 0 --out runs/joint_0
          (and four other seeds of each)
          jaxnas compare runs/two_0 --with runs/two_1,...,runs/joint_4
Time: three to six minutes a run, on one core beside others.
Result: no, the two stages do. After 218 and 207 seconds (medians of five seeds) hypervolume is
0.567 against 0.260 of the box of joint_0's random search.
"""

from dataclasses import replace

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

two_stage = Config(
    name="two_stage",
    space="tiny",
    data=DataConfig(source="digits", search_images=400),
    train=TrainConfig(epochs=30, batch_size=64, random_subnets=2),
    profile=ProfileConfig(device="raptor_small"),
    search=SearchConfig(population=28, generations=50),
    finetune=FinetuneConfig(epochs=0),
)
joint = replace(
    two_stage,
    name="joint",
    train=TrainConfig(
        method="relaxed",
        epochs=45,
        batch_size=64,
        learning_rate=0.05,
        relaxed=RelaxedConfig(
            "sampled:first=1:weight_decay=0",
            weights_first=0.5,
            learning_rate=0.05,
            cost="latency_ms",
            cost_weights=tuple(0.02 * 100 ** (i / 7) for i in range(8)),
        ),
    ),
    search=SearchConfig(population=28, generations=1),
)
