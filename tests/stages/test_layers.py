"""`jaxnas profile --per-layer`: the tables of the look-up predictor, to be read."""

from dataclasses import replace

import numpy as np

from jaxnas.records.measurements import by_network, read_measurements
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.stages.predict import fit_predictor, measured_networks
from jaxnas.stages.settings import read_config


def test_a_network_takes_the_sum_of_its_entries(cli, run_copy):
    code, errors = cli("profile", run_copy, "--per-layer")
    assert code == 0 and "profile: done before" in errors[0]
    assert "layers.csv; on the 3 test networks their sums have an R2 of" in errors[1]
    run = RunDirectory(run_copy)
    rows = run.read_csv("layers.csv")
    job = open_job(run, read_config(run_copy))
    constant, *entries = rows
    assert constant["parts"] == "" and constant["networks"] == "6"
    named = {(row["parts"], row["choices"]): row for row in entries}
    assert len(named) == len(entries)
    tables = [" ".join(job.space.parts[i].name for i in term.parts) for term in job.space.terms]
    assert {row["parts"] for row in entries} == {*tables}
    for parts in tables:
        assert sum(int(row["networks"]) for row in entries if row["parts"] == parts) == 6

    measured = [one.genome for one in by_network(read_measurements(run, job.space))]
    genomes = np.asarray(job.space.canonical(np.array(measured)))
    sums = [float(constant["latency_ms"])] * len(genomes)
    for n, genome in enumerate(genomes):
        network = job.space.decode(genome)
        for parts, term in zip(tables, job.space.terms, strict=True):
            names = [job.space.genes[i].name for i in term.genes]
            choices = " ".join(f"{name}={network[name]}" for name in names)
            sums[n] += float(named[parts, choices]["latency_ms"])
    predict = replace(job.config.predict, method="lookup")
    lookup = replace(job, config=replace(job.config, predict=predict))
    model = fit_predictor(lookup, measured_networks(job))
    np.testing.assert_allclose(sums, model(genomes), rtol=1e-5)
    assert np.ptp(sums) > 0
