from dataclasses import replace

import pytest

from jaxnas.config import METHODS, Config, DataConfig, PredictConfig, ProfileConfig, SearchConfig
from jaxnas.errors import UserError
from jaxnas.plugins import unread
from jaxnas.stages.bounds import settings_of
from jaxnas.stages.unread import DEFAULTS, READERS, check_read, only_read, setting, without_unread
from jaxnas.stages.unread import _changed as changed
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig
from jaxnas.training.population import HybridConfig

# The choice of each row of the table under which its settings are not read, and one under which all
# rows read them.
UNREAD = {
    "data.source": "npz:images.npz",
    "train.epochs": 0,
    "profile.device": "raptor",
    "predict.method": "lookup",
    "search.algorithm": "evosax:PSO",
    "search.hybrid.epochs": 0,
    "finetune.epochs": 0,
    "finetune.teacher": None,
}
READING = Config(
    "x",
    data=DataConfig("tfds:cifar10"),
    profile=ProfileConfig("onnxruntime"),
    search=SearchConfig("nsga2", hybrid=HybridConfig(epochs=1)),
    finetune=FinetuneConfig(1),
)
CASES = [
    pytest.param(reader, name, id=f"{name} {reader.choice}")
    for reader in READERS
    for name in reader.settings
]


OF_PICTURES = [
    f"data.{name}" for name in ("image_size", "non_square", "scaled_decoding", "stream", "workers")
]
# Sections of settings that a single method reads.
SECTIONS = {"train.relaxed": "relaxed", "train.enas": "enas", "train.pareto": "pareto_rank"}


def other(name):
    """A value of the setting that is not its default."""
    if name == "data.augmentation.transforms":
        return ("cutout",)
    default = 0 if name in ("data.image_size", "data.workers") else setting(DEFAULTS, name)
    return {int: 7, float: 0.123, bool: True, tuple: (0.5,)}.get(type(default), "other")


def read(name):
    """Settings under which this one, changed, is read."""
    value = "best_up" if name == "train.method" else other(name)
    if name.startswith(("data.augmentation", "train.class_weights")):  # which all that trains reads
        return changed(
            replace(READING, train=TrainConfig(epochs=0), search=SearchConfig()), name, value
        )
    if name in OF_PICTURES:
        return changed(replace(READING, data=DataConfig("folder:pictures")), name, value)
    if name == "finetune.distillation":
        return changed(replace(READING, finetune=FinetuneConfig(1, teacher="largest")), name, value)
    method = "best_up" if name == "train.candidates" else "sandwich"
    method = SECTIONS.get(name.rpartition(".")[0], method)
    return changed(replace(READING, train=TrainConfig(method)), name, value)


def leaving_unread(reader, name):
    """The choice under which the reader does not read this setting."""
    if reader.choice != "train.method":
        return UNREAD[reader.choice]
    section, _, last = name.rpartition(".")
    if section in SECTIONS:
        return "ofa"
    return next(method for method, make in METHODS.items() if last in unread(make))


@pytest.mark.parametrize("reader, name", CASES)
def test_a_setting_that_a_choice_leaves_unread_is_refused_and_with_the_named_choice_it_is_not(
    reader, name
):
    check_read(read(name))
    of_a_method = name == "train.candidates" or name.rpartition(".")[0] in SECTIONS
    if of_a_method and reader.choice == "train.epochs":
        return  # the method that reads it is itself not read then
    left = changed(read(name), reader.choice, leaving_unread(reader, name))
    with pytest.raises(
        UserError,
        match=rf"{name} .* is not read with {reader.choice} .*, but with .*: leave it away",
    ):
        check_read(left)
    check_read(changed(left, name, setting(DEFAULTS, name)))
    assert without_unread(left) == without_unread(changed(left, name, setting(DEFAULTS, name)))


@pytest.mark.parametrize("reader, name", CASES)
def test_who_switches_a_choice_leaves_the_files_settings_behind(reader, name):
    before = read(name)
    switched = only_read(changed(before, reader.choice, leaving_unread(reader, name)), before)
    assert setting(switched, name) == setting(DEFAULTS, name)
    check_read(switched)
    if type(other(name)) is bool:
        return  # it has no third value
    several = ("cutmix",) if name == "data.augmentation.transforms" else (0.6,)
    third = {int: 9, float: 0.456, tuple: several}.get(type(other(name)), "worst_up")
    given = changed(switched, name, third)
    with pytest.raises(UserError, match=name):
        check_read(only_read(given, before))


def test_every_name_of_the_table_is_a_setting():
    known = {name for name, _, _ in settings_of(DEFAULTS)}
    assert {name for reader in READERS for name in (*reader.settings, reader.choice)} <= known


def test_a_predictor_of_ones_own_may_read_them_all():
    method = f"{__file__}:read"
    check_read(Config("x", predict=PredictConfig(method, 5, 0.1, 0.1)))
    with pytest.raises(UserError, match=r"predict\.steps 5 is not read"):
        check_read(Config("x", predict=PredictConfig("ensemble", 5)))
    check_read(Config("x", predict=PredictConfig("ensemble", weight_decay=0.1)))


@pytest.mark.parametrize("algorithm", ["evolution", "elitist"])
def test_mutations_that_are_certain_have_no_probability(algorithm):
    settings = Config("x", search=SearchConfig(algorithm, mutation=0.9))
    with pytest.raises(
        UserError, match=f"search.mutation 0.9 is not read with search.algorithm '{algorithm}'"
    ):
        check_read(settings)
    crossed = replace(settings, search=SearchConfig(algorithm, crossover=0.1))
    assert (without_unread(crossed) == crossed) == (algorithm == "elitist")


def test_a_setting_of_an_algorithms_own_leaves_the_searchs_unread():
    own = Config("x", search=SearchConfig("nsga2:mutation=0.2", mutation=0.9))
    with pytest.raises(
        UserError, match=r"search\.mutation 0\.9 is not read with .* but with nsga2, "
    ):
        check_read(own)
    check_read(replace(own, search=SearchConfig("nsga2:mutation=0.2", crossover=0.5)))


OWN = """
from dataclasses import dataclass
from jaxnas.plugins import leaves_unread

def open_method(settings): ...

@leaves_unread("candidates")
def quiet_method(settings): ...

def open_algorithm(settings): ...

@dataclass(frozen=True)
class QuietAlgorithm:
    population: int
"""


def test_what_is_a_users_own_may_read_all_unless_it_says_otherwise(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    for method, algorithm in (
        ("open_method", "open_algorithm"),
        ("quiet_method", "QuietAlgorithm"),
    ):
        trained = Config("x", train=TrainConfig(f"{path}:{method}", candidates=7))
        searched = Config("x", search=SearchConfig(f"{path}:{algorithm}", crossover=0.1))
        for config in (trained, searched):
            assert (without_unread(config) == config) == method.startswith("open")


def test_a_device_of_ones_own_may_read_seconds_and_threads():
    profile = ProfileConfig("mine.py:device", threads=2, seconds=0.5)
    check_read(Config("x", profile=profile))
    with pytest.raises(UserError, match="threads 2 is not read"):
        check_read(Config("x", profile=replace(profile, device="chip.toml")))


def test_a_worst_case_reads_what_one_of_its_devices_reads():
    for device, reads in (("raptor,openvino", True), ("raptor,raptor_small", False)):
        config = Config("x", profile=ProfileConfig(f"worst:{device}", threads=2))
        assert (without_unread(config) == config) == reads


def test_settings_that_are_read_stay():
    assert (
        without_unread(READING) == READING
        and only_read(READING, replace(READING, seed=3)) == READING
    )


def test_pictures_that_are_named_are_not_digits(cli, micro, tmp_path):
    code, (line,) = cli("data", micro, "--data-dir", "pictures")
    assert (
        code == 2
        and "data.data_dir 'pictures' is not read with data.source 'digits', but with tfds:NAME"
        in line
    )
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("source", ["digits", "cluttered_digits"])
@pytest.mark.parametrize("setting", [("--data.image-size", 8), ("--data.stream", "always")])
def test_digits_have_a_size_of_their_own_and_are_in_memory(cli, micro, source, setting):
    code, (line,) = cli("data", micro, "--data.source", source, *setting)
    assert code == 2 and f"is not read with data.source '{source}'" in line
