"""The bench of a generation's training.

Both sides do the same, on a space that compiles in seconds.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.training.population import HybridConfig

HYBRID = HybridConfig(1, 4, batch_size=8, learning_rate=0.05)


@pytest.fixture(scope="module")
def bench(bench_module, small_mobilenet):
    """generation.py, whose `--quick` is quicker still."""
    bench = bench_module("generation")
    case = bench_module("supernet_case")
    sizes = case.Sizes(
        lambda size, *rest: small_mobilenet((size,), *rest),
        16,
        6,
        32,
        96,
        batch=8,
        steps=1,
        architectures=16,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "QUICK", sizes)
        yield bench


def test_both_sides_train_alike_and_other_training_is_noticed(bench, bench_module, alone, peer):
    case = bench_module("supernet_case").make_case(bench.QUICK, None)
    genomes = np.asarray(case.net.space.sample(jax.random.key(1), 4))
    ours = bench.jaxnas_generation(case, genomes, HYBRID)()

    def most_images(hybrid):
        theirs = bench.torch_generation(case, genomes, hybrid, peer, peer.Setting())()
        return np.abs(ours - theirs).max() * len(bench.examples(case)[1].labels)

    assert most_images(HYBRID) < 2.5
    assert most_images(replace(HYBRID, head_epochs=0, epochs=0)) > 2.5


@pytest.mark.slow
def test_the_whole_bench(bench, alone, capsys):
    assert bench.main(["--quick", "--rounds", "1", "--candidates", "3"]) == 0
    printed = capsys.readouterr().out
    assert (
        "jaxnas / torch default" in printed
        and "correlation of accuracies: torch channels-last" in printed
    )


def test_settings_that_make_no_sense_are_refused(bench, alone, capsys):
    assert bench.main(["--quick", "--candidates", "0"]) == 2
    assert "--candidates must be at least 1" in capsys.readouterr().err
