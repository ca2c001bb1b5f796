"""One contract for every logger, each against a stand-in for its package."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from jaxnas.config import LOGGERS, Config, make_logger
from jaxnas.errors import UserError
from jaxnas.loggers.writer import About, Writer, scalars
from jaxnas.stages.checks import check_settings

LINES = [
    {"stage": "train", "time": 1.5, "step": 3, "loss": 2.0, "images_per_s": 80.5},
    {"stage": "train", "time": 2.5, "event": "done", "seconds": 9.0},
    {"stage": "finetune", "time": 3.5, "name": "knee", "epoch": 2, "loss": 1.0, "note": "text"},
]
# (name, value, step) of all numbers in them.
FIGURES = [
    ("train/loss", 2.0, 3),
    ("train/images_per_s", 80.5, 3),
    ("train/done/seconds", 9.0, 0),
    ("finetune/knee/loss", 1.0, 2),
]


class Summary:
    """tensorboardX's SummaryWriter, as far as it is used."""

    def __init__(self, folder, figures):
        self.folder = folder
        self.figures = figures

    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None):
        assert walltime in (1.5, 2.5, 3.5)
        self.figures.append((tag, scalar_value, global_step))

    def flush(self):
        pass


class WandbRun:
    def __init__(self, figures):
        self.figures = figures
        self.axes = {}

    def define_metric(self, name, step_metric):
        self.axes[name] = step_metric

    def log(self, data):
        for name, value in data.items():
            group = name.rpartition("/")[0]
            axis = self.axes[f"{group}/*"]
            if name != axis:
                self.figures.append((name, value, data[axis]))


class MlflowClient:
    """A server's client; what runs there are is kept in the class, as on a server."""

    def __init__(self, figures, runs):
        self.figures = figures
        self.runs = runs

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name):
        assert name == "jaxnas"
        return "7"

    def search_runs(self, experiments, filter_string):
        assert experiments == ["7"]
        return [one for tag, one in self.runs.items() if f"= '{tag}'" in filter_string]

    def create_run(self, experiment, tags):
        run = SimpleNamespace(info=SimpleNamespace(run_id=f"run {len(self.runs)}"))
        self.runs[tags["jaxnas.run"]] = run
        return run

    def log_param(self, run, key, value):
        assert (key, value) == ("train.epochs", 5)

    def log_metric(self, run, key, value, timestamp, step):
        assert run == "run 0" and timestamp in (1500, 2500, 3500)
        self.figures.append((key, value, step))


@pytest.fixture
def figures(monkeypatch):
    """What has arrived, once all packages are stood in for."""
    found = []
    runs = {}
    starts = []

    def start(**settings):
        starts.append(settings)
        assert settings["resume"] == "allow" and settings["config"] == {"train.epochs": 5}
        assert len({one["id"] for one in starts}) == 1
        return WandbRun(found)

    for name, contents in {
        "tensorboardX": {"SummaryWriter": lambda folder: Summary(folder, found)},
        "wandb": {"init": start},
        "mlflow": {},
        "mlflow.tracking": {"MlflowClient": lambda: MlflowClient(found, runs)},
    }.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.mark.parametrize("name", LOGGERS)
def test_all_numbers_arrive_with_their_steps_and_a_resumed_run_goes_on(name, figures, tmp_path):
    about = About("micro", tmp_path, {"train.epochs": 5})
    for _ in range(2):
        logger = make_logger(name, about)
        assert isinstance(logger, Writer)
        figures.clear()
        for line in LINES:
            logger.write(line)
        assert figures == FIGURES


@pytest.mark.parametrize("name", LOGGERS)
def test_an_absent_package_is_named_with_what_brings_it(name, monkeypatch, tmp_path):
    for package in ("tensorboardX", "wandb", "mlflow", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"loggers {name} needs .*pip install -e '.\[{name}\]'"):
        make_logger(name, About("micro", tmp_path, {}))


def test_numbers_are_told_from_flags_and_text():
    found = scalars({"stage": "a", "time": 1.0, "event": "b", "yes": True, "n": 3, "of": "x"})
    assert (found.group, found.step, found.values) == ("a/b", 0, {"n": 3.0})


def test_an_unknown_logger_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown logger 'wanda'; known: mlflow, tensorboard, wan"):
        check_settings(Config("x", loggers=("wanda",)))


OWN = """
class Kept:
    def __init__(self, about):
        self.path = about.folder / "own.txt"

    def write(self, line):
        with open(self.path, "a") as file:
            print(line["stage"], line.get("event"), file=file)


def nothing(about):
    return about
"""


def test_a_run_writes_to_a_logger_of_ones_own_and_to_its_file(cli, micro, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    run = tmp_path / "run"
    code, lines = cli("data", micro, "--out", run, "--loggers", f"{tmp_path / 'own.py'}:Kept")
    assert code == 0, lines
    assert (run / "own.txt").read_text() == "data done\n"
    assert '"event": "done"' in (run / "metrics.jsonl").read_text()
    other = tmp_path / "other"
    code, (line,) = cli(
        "data", micro, "--out", other, "--loggers", f"{tmp_path / 'own.py'}:nothing"
    )
    assert code == 2 and "must return a writer with the method write, got About(" in line
    assert not other.exists()
