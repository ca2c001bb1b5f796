"""More objectives than error and latency, as the command has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.config import OBJECTIVES, load_chip
from jaxnas.experiment import load_config
from jaxnas.records.measurements import read_measurements
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.joint import chip_values
from jaxnas.stages.job import open_job, space_settings
from jaxnas.stages.settings import config_from

MADE_ANEW = (
    "measurements.csv",
    "predictions.csv",
    "predictor.json",
    "predictor.npz",
    "candidates.npz",
    "random.npz",
)


@pytest.fixture(scope="module")
def searched(changed_run, chip, tmp_path_factory):
    """A run for a chip whose energy goes by multiply-adds and whose latency does not.

    Its memory is chosen with the network; the supernet was trained without it.

    Made once, to be read.
    """
    file = tmp_path_factory.mktemp("chip") / "chip.toml"
    free = chip.replace("power_mw = 1", "power_mw = 0") + "pj_per_mac = 1000\n"
    file.write_text(free.replace("memory_bytes = 1000", "memory_bytes = [500, 1000, 2000]"))
    wish = (
        "--profile.device",
        file,
        "--search.objectives",
        "error",
        "latency_ms",
        "energy_uj",
        "chip_kib",
        "--finetune.epochs",
        0,
    )
    run, _ = changed_run(["run"], *wish, without=MADE_ANEW)
    return load_chip(str(file)), RunDirectory(run)


def test_fitness_has_a_column_for_each_objective(cli, searched):
    model, run = searched
    job = open_job(run, load_config(str(run.root)))
    for file in ("candidates.npz", "random.npz"):
        found = run.read_npz(file)
        names = ["error", "latency_ms", "energy_uj", "chip_kib"]
        assert found["objectives"].tolist() == names and len(found["labels"]) == 4
        sizes = np.array([500, 1000, 2000])[found["genomes"][:, -1]]
        assert len({*sizes}) == 3
        said = jax.vmap(
            lambda genome, size: model.chosen({"memory_bytes": size})(job.space.layers(genome))
        )(jnp.asarray(found["genomes"]), jnp.asarray(sizes))
        costs = job.space.costs(found["genomes"])
        expected = [said.latency_ms, costs.macs / 1e3, sizes / 1024]
        np.testing.assert_allclose(found["fitness"][:, 1:], np.stack(expected, axis=1), rtol=1e-5)


def test_chosen_networks_are_on_the_front_of_all_objectives(searched):
    _, run = searched
    found = run.read_npz("candidates.npz")
    chosen = run.read_json("chosen.json")
    front = np.asarray(pareto.front(jnp.asarray(found["fitness"])))
    of_genome = {
        tuple(genome): (row, member)
        for genome, row, member in zip(
            found["genomes"].tolist(), found["fitness"], front, strict=True
        )
    }
    held_out = run.read_npz("selection.npz")
    costs = [of_genome[tuple(genome)][0][1:] for genome in held_out["genomes"].tolist()]
    again = np.column_stack([held_out["selection_error"], costs])
    points = again[np.asarray(pareto.front(jnp.asarray(again, jnp.float32)))]
    assert len(chosen) == min(5, len(np.unique(points, axis=0)))
    for one in chosen:
        row, member = of_genome[tuple(one["genome"])]
        assert member
        np.testing.assert_allclose(
            [one["predicted_ms"], one["energy_uj"], one["chip_kib"]], row[1:]
        )


def test_the_report_shows_each_of_them(searched):
    _, run = searched
    page = run.path("report.html").read_text()
    box = page[page.index("The box: error") :].partition("</figcaption>")[0]
    for cost in (
        "predicted latency (ms)",
        "energy (uJ)",
        "local memory of the chip (KiB)",
    ):
        assert page.count(f"accuracy against {cost}, for the search") == 1 and cost in box
    first = run.read_json("chosen.json")[0]
    assert first["chip"]["memory_bytes"] == 1024 * first["chip_kib"]
    assert f"chip: memory_bytes {first['chip']['memory_bytes']}" in page
    energy = first["energy_uj"]
    assert f'<td class="number">{energy:#.3g}' in page


def test_networks_are_measured_on_the_chip_of_their_genome(cli, searched):
    model, run = searched
    job = open_job(run, load_config(str(run.root)))
    assert space_settings(job.space)["chip"] == {"memory_bytes": [500, 1000, 2000]}
    networks = job.trained_net.space
    assert len(networks.genes) == len(job.space.genes) - 1 and "chip" not in networks.settings
    for one in read_measurements(run, job.space):
        chip = model.chosen(chip_values(job.space, one.genome))
        found = chip(job.space.layers(one.genome)).latency_ms
        assert one.measurement.latency_ms == pytest.approx(float(found), rel=1e-5)


ALL_FOUR = ("--search.objectives", "error", "latency_ms", "mmacs", "mparams")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ("--search.objectives", "error", "joy"),
            "unknown objective 'joy'; known: analog_deviation@1day, analog_error@1day, "
            "analog_variation, chip_kib, energy_uj, error, latency_ms, mmacs",
        ),
        (
            ("--search.objectives", "error", "mmacs", "mmacs"),
            "search.objectives must be error and one to three others, each once, got error mmacs",
        ),
        (
            ("--search.objectives", "latency_ms", "mmacs"),
            "search.objectives must be error and one to three others",
        ),
        (
            ("--search.objectives", "error"),
            "search.objectives must be error and one to three others",
        ),
        (
            ("--search.objectives", *OBJECTIVES),
            "search.objectives must be error and one to three others",
        ),
        (
            ("--search.objectives", "error", "mmacs", "--latency-limit-ms", "3"),
            "latency_limit_ms 3 needs latency_ms among search.objectives, got error mmacs",
        ),
        (
            ("--search.also", "mmacs"),
            "--search.also is now --search.objectives error latency_ms: write that, and the others",
        ),
        (
            ("--search.objectives", "error", "latency_ms", "energy_uj"),
            "the device onnxruntime gives no energy_uj: name one that models it, such as raptor",
        ),
        (
            (*ALL_FOUR, "--search.generations", "2000"),
            "must be at most 4096 with 4 of search.objectives, got 8000",
        ),
        (
            ("--search.objectives", "error", "latency_ms", "mmacs", "--search.look_ups", "6"),
            "search.look_ups settles the front of error and latency alone",
        ),
    ],
)
def test_what_cannot_be_minimised_is_refused_at_once(cli, micro, tmp_path, settings, said):
    code, errors = cli("run", micro, "--out", tmp_path / "run", *settings)
    assert code == 2 and said in errors[-1]
    assert not (tmp_path / "run").exists()


def test_an_architecture_is_not_learnt_with_a_chip(cli, micro, tmp_path, chip):
    file = tmp_path / "chip.toml"
    file.write_text(chip.replace("memory_bytes = 1000", "memory_bytes = [500, 1000]"))
    settings = ("--profile.device", file, "--train.method", "relaxed")
    code, errors = cli("run", micro, "--out", tmp_path / "run", *settings)
    assert code == 2 and "the device leaves memory_bytes to be chosen" in errors[-1]


def test_a_search_without_latency_profiles_and_predicts_nothing(changed_run):
    short = ("--search.generations", 1, "--finetune.epochs", 0)
    settings = ("--search.objectives", "error", "mmacs", *short)
    run, said = changed_run(["run"], *settings, without=MADE_ANEW)
    assert "profile: not needed, for latency_ms is none of search.objectives" in said
    run = RunDirectory(run)
    assert not run.exists("measurements.csv") and not run.exists("predictor.npz")
    chosen = run.read_json("chosen.json")
    assert chosen[0]["name"] == "most_accurate"
    assert not {"fastest", "below_limit"} & {one["name"] for one in chosen}
    for one in chosen:
        assert one["mmacs"] == pytest.approx(one["macs"] / 1e6) and "predicted_ms" not in one
    page = run.path("report.html").read_text()
    assert page.count("accuracy against multiply-adds (million), for the search") == 1
    assert (
        "Is the predicted latency right?" not in page and "the search minimised no latency" in page
    )


def test_an_older_run_names_what_it_minimised_also():
    config = config_from({"name": "older", "search": {"also": ["mmacs"], "population": 8}})
    assert config.search.objectives == ("error", "latency_ms", "mmacs")
    assert config.search.population == 8
