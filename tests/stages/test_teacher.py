"""Whose answers networks learn from in fine-tuning."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.stages.settings import recorded_settings
from jaxnas.stages.teacher import check_teacher, teacher_of


@pytest.fixture
def job(finished_run, cli):
    run = RunDirectory(finished_run)
    return open_job(run, recorded_settings(run))


def named(job, teacher):
    finetune = replace(job.config.finetune, teacher=teacher)
    return replace(job, config=replace(job.config, finetune=finetune))


def test_it_is_the_largest_network_of_this_run_or_of_another(job, finished_run):
    params = jax.device_get(job.params())
    size = job.resolution(job.space.largest)
    own = teacher_of(named(job, "largest"), params, size)
    assert own is not None and own.ops == job.net.ops(job.space.largest)
    expected = job.inherited(params, job.space.largest)  # as a search evaluates it
    for pair in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(*pair, atol=1e-4)
    for name in (finished_run, finished_run / "supernet.safetensors"):
        other = named(job, str(name))
        check_teacher(other.config, job.data, job.space)
        found = teacher_of(other, {}, size)
        assert found is not None and found.ops == own.ops
        for pair in zip(jax.tree.leaves(found), jax.tree.leaves(own), strict=True):
            np.testing.assert_array_equal(*pair)
    assert teacher_of(job, params, size) is None


@pytest.mark.parametrize(
    "name, part",
    [
        ("nobody", "unknown weights 'nobody'"),
        ("gone.safetensors", "there is no supernet 'gone.safetensors'"),
        (".", "has no supernet.safetensors: name a run that is trained"),
        ("tiny_cifar100", "is a supernet of another space than micro"),
    ],
)
def test_what_is_no_teacher_is_refused(job, name, part):
    with pytest.raises(UserError, match=part):
        check_teacher(named(job, name).config, job.data, job.space)


def test_a_run_is_refused_before_anything_is_trained(cli, micro, tmp_path):
    code, (line,) = cli("data", micro, "--out", tmp_path / "run", "--finetune.teacher", "nobody")
    assert code == 2 and "unknown weights 'nobody'" in line and not (tmp_path / "run").exists()
