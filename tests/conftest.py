"""Strict for every test.

A key used twice is an error, shapes and types are checked, warnings are errors (pyproject.toml).

Set in the environment, so that programs started by a test inherit it; the hook must be in place
before jaxnas is imported.
"""

import fcntl
import gc
import importlib.util
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import zlib
from contextlib import contextmanager, redirect_stderr
from dataclasses import is_dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from jaxtyping import install_import_hook

CACHE = Path(__file__).parents[1] / ".pytest_cache"
FLAGS = ["--xla_backend_optimization_level=0"]  # compiles in two thirds of the time
if version("jaxlib").startswith("0.10."):
    # And then in half; XLA stops at a flag that it does not know.
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
# Small programs too: workers, started commands and modules that drop theirs have them in common.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
os.environ["JAX_DEBUG_KEY_REUSE"] = "1"
os.environ["MPLBACKEND"] = "agg"
MAPPINGS = 20_000  # with which a module may begin
gc.set_threshold(100_000, 50, 50)  # a trace is millions of objects that stay

shapes_checked = jaxtyping.jaxtyped


def checked(thing=None, *, typechecker):
    """What the hook makes of every function and class: jaxtyping where there are shapes.

    Binding sizes took up to a third of a test's time; plain types are left to beartype.
    """
    if thing is None:
        return partial(checked, typechecker=typechecker)
    hints = getattr(thing, "__annotations__", None)
    if hints is None or any(
        isinstance(hint, str) or "jaxtyping" in str(hint) for hint in hints.values()
    ):
        return shapes_checked(thing, typechecker=typechecker)
    if inspect.isfunction(thing):
        return typechecker(thing)
    if is_dataclass(thing):
        thing.__init__ = typechecker(thing.__init__)
    return thing


jaxtyping.jaxtyped = checked
# The tower: an int is welcome where a float is expected.
install_import_hook(
    "jaxnas",
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError))",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Puts the tests that need the finished run where the second of two workers begins.

    pytest-xdist's `worksteal` gives each worker a contiguous half. The run is then made at once, by
    one worker, while the other tests things that do not wait for it.
    """
    late = [item for item in items if "finished_run" in getattr(item, "fixturenames", ())]
    rest = [item for item in items if "finished_run" not in getattr(item, "fixturenames", ())]
    half = len(items) // 2
    items[:] = [*rest[:half], *late, *rest[half:]]


@pytest.fixture(scope="module", autouse=True)
def few_programs_are_kept(request):
    """A module begins without programs if it counts its own, or if the process holds too many.

    JAX keeps 4,096. Each takes some of the 65,530 mappings of memory that Linux gives a process;
    without one more the next compilation is a segmentation fault.
    """
    maps = Path("/proc/self/maps")
    mappings = maps.read_bytes().count(b"\n") if maps.exists() else 0
    if mappings > MAPPINGS or "_cache_size" in Path(request.path).read_text():
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def small_mobilenet():
    """Builds a space of two stages, which compiles fast.

    `small_mobilenet(resolutions, channels, classes)`.
    """
    from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space

    stages = (
        Stage((8, 16), (1,), (3, 5), (1,), 1, False),
        Stage((16, 24), (1, 2), (3, 5), (2, 3), 2, True),
    )
    return lambda resolutions, channels, classes: mobilenet_space(
        "small", MobileNet(resolutions, (8, 16), 2, stages, (16, 24), channels, classes)
    )


@pytest.fixture(scope="session")
def per_block():
    """A space of one or two blocks: the genes of the second need a depth of two."""
    from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space

    stage = Stage((8,), (1, 2), (3, 5), (2, 3), 2, False)
    structure = MobileNet((8,), (8,), 1, (stage,), (16,), 1, 10, per_block=True)
    return mobilenet_space("per_block", structure)


@pytest.fixture(scope="session")
def edges_space():
    """A space of three edges in a row and one around them, each zero, its input or a convolution.

    `edges_space(pixels, channels, classes)`; choices from 1 on leave out zero.
    """
    from jaxnas.spaces.gene import Gene
    from jaxnas.spaces.part_builder import PartBuilder
    from jaxnas.spaces.parts import Part
    from jaxnas.spaces.space import Space

    def build(pixels, channels, classes, width=6, choices=(0, 1, 2, 3)):
        def stem():
            ops = PartBuilder(pixels, channels)
            ops.conv("stem", width, kernel=3, act="relu")
            return ops.done()

        def edge(name):
            def ops_of(choice):
                ops = PartBuilder(pixels, width)
                results = [
                    ops.append("zero", inputs=(0,), repeat=(choice == 0) * 1),
                    0,
                    ops.conv(f"{name}/1", width, inputs=(0,), repeat=(choice == 2) * 1),
                    ops.conv(f"{name}/3", width, inputs=(0,), kernel=3, repeat=(choice == 3) * 1),
                ]
                ops.pick(tuple(results), choice)
                return ops.done()

            return ops_of

        def head():
            ops = PartBuilder(pixels, width)
            around = ops.input(pixels, width)
            ops.append("add", inputs=(0, around))
            ops.append("pool")
            ops.append("linear", classes, "classifier", bias=True)
            return ops.done()

        names = ("first", "second", "third", "around")
        genes = tuple(Gene(name, choices, "operation") for name in names)
        row = [Part(name, (i,), edge(name)) for i, name in enumerate(names[:3])]
        around = Part("around", (3,), edge("around"), ("stem",))
        last = Part("head", (), head, ("third", "around"))
        return Space("edges", genes, (Part("stem", (), stem), *row, around, last))

    return build


@pytest.fixture(scope="session")
def blocks():
    """The blocks of code of a page: `blocks("README.md", "python")`."""
    root = Path(__file__).parents[1]

    def of(page: str, language: str = "python") -> list[str]:
        text = (root / page).read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)

    return of


@pytest.fixture(scope="session")
def toy_family():
    """tests/toy_family.py, its kind of operator known for the session, as a user's would be."""
    path = Path(__file__).with_name("toy_family.py")
    spec = importlib.util.spec_from_file_location("toy_family", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from jaxnas.export.emitters import EMITTERS
    from jaxnas.networks.operators import OPERATORS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPERATORS, "smooth", module.OPERATOR)
        patch.setitem(EMITTERS, "smooth", module.EMITTER)
        yield module


@pytest.fixture(scope="session")
def randomised():
    """Weights for a supernet: random norms and biases too, and logits of deviation 1 or more.

    With the published initialisation, whose last scale of a block is 0, all subnets give nearly the
    same logits. Put on the device as they are: `jnp.asarray` compiles a program for each shape.
    """
    import jax

    def draw(path, leaf):
        where = jax.tree_util.keystr(path)
        name = path[-1].key
        noise = np.random.default_rng(zlib.crc32(where.encode())).normal(size=leaf.shape)
        if name == "kernel":
            *window, c_in, _ = leaf.shape
            noise = (
                4 * noise
                if leaf.ndim == 2  # of the last layer
                else noise * np.sqrt(2 / (np.prod(window) * c_in))
            )
        if name.startswith("transform"):
            return np.asarray(np.eye(len(noise)) + noise / np.sqrt(len(noise)), np.float32)
        return np.asarray(
            np.exp(0.3 * noise) if name == "scale" else noise if name == "kernel" else 0.3 * noise,
            np.float32,
        )

    return lambda net: jax.device_put(
        jax.tree.map_with_path(draw, jax.eval_shape(net.init, jax.random.key(0)))
    )


def without_times(log: str) -> str:
    """A log's lines without the date and time at their beginning."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", log, flags=re.MULTILINE)


# A whole run that takes seconds: a space of 128 networks, which its experiment file makes known.
MICRO = """
from jaxnas.config import SPACES, Config, DataConfig, PredictConfig, ProfileConfig, SearchConfig
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

STAGES = (
    Stage((8, 16), (1,), (3, 5), (1,), 2, False),
    Stage((16, 24), (1, 2), (3, 5), (2, 3), 2, True),
)
def micro(size, channels, classes):
    structure = MobileNet((size,), (8,), 2, STAGES, (16, 32), channels, classes)
    return mobilenet_space("micro", structure)
SPACES["micro"] = micro
config = Config(
    name="micro",
    space="micro",
    data=DataConfig(search_images=100, calibration_images=64),
    train=TrainConfig(
        epochs=1,
        batch_size=64,
        random_subnets=1,
        ema_decay=0.9,
        checkpoint_every=4,
        evaluated_subnets=2,
    ),
    profile=ProfileConfig(train=6, validation=3, test=3, rounds=2, more_rounds=0, seconds=0.001),
    predict=PredictConfig(steps=20),
    search=SearchConfig(population=4, generations=8, images=40),
    finetune=FinetuneConfig(epochs=2, batch_size=64, ema_decay=0.9, networks=2),
)
"""

# The command as a user has it. Types and shapes are not checked: that takes 5 s a process, and
# `cli` below does it.
COMMAND = """
import signal, sys
# What a shell starts in the background is deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxnas.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="session")
def micro(tmp_path_factory) -> Path:
    """An experiment file for whole runs."""
    path = tmp_path_factory.mktemp("experiment") / "micro.py"
    path.write_text(MICRO)
    return path


@pytest.fixture(scope="session")
def start():
    """Starts the real command in a process of its own."""

    def start(*arguments, **options) -> subprocess.Popen:
        environment = {**os.environ, "JAXNAS_CACHE": str(CACHE / "jaxnas")}
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


@pytest.fixture(scope="session")
def finished_run(micro, start, tmp_path_factory, worker_id) -> Path:
    """A finished run, made once for all workers: to be read, not written."""
    shared = (
        tmp_path_factory.getbasetemp()
        if worker_id == "master"
        else tmp_path_factory.getbasetemp().parent
    )
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = shared / "finished"
        if not out.exists():
            partial = shared / "finishing"
            process = start("run", micro, "--out", partial)
            errors = process.communicate()[1]
            assert process.returncode == 0, errors
            (partial / "stderr.txt").write_text(without_times(errors))
            partial.rename(out)
    return out


@contextmanager
def commands_here(patch):
    """Commands may be called in this process: it knows `micro`, and is as before in the end."""
    import jax

    from jaxnas import config
    from jaxnas.stages import job

    exec(MICRO, {})  # known also where a run directory is named in place of the file
    patch.setitem(config.SPACES, "micro", config.SPACES.pop("micro"))
    patch.setenv("JAXNAS_CACHE", str(CACHE / "jaxnas"))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        yield
    finally:
        job.load_data.cache_clear()
        for name, value in before.items():
            jax.config.update(name, value)


@pytest.fixture(scope="session")
def changed_run(finished_run, micro, tmp_path_factory):
    """A copy of the finished run that has some stages run anew with other settings.

    And what the stages said.

    As if it had been started so, but trained already: `changed_run(["predict"], "--predict.steps",
    9)`. `without` names more files that are not there yet. In this process, which has compiled half
    of it; that the commands run in one of their own, other tests say.
    """
    from jaxnas import cli

    def change(stages: list[str], *settings, without: tuple[str, ...] = ()) -> tuple[Path, str]:
        run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("changed") / "run"))
        for file in [
            "config.json",
            *without,
            *(["predictor.npz", "measurements.csv"] if "profile" in stages else []),
        ]:
            (run / file).unlink()
        for file in ["chosen.json", "exported.csv", "verified.csv", "report.html"]:
            (run / file).unlink()
        for folder in (run / "checkpoints").iterdir():
            if folder.name != "supernet":
                shutil.rmtree(folder)
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, commands_here(patch), redirect_stderr(said):
            for stage in stages:
                code = cli.main([stage, *map(str, (micro, "--out", run, *settings))])
                assert code == 0, said.getvalue()
        return run, without_times(said.getvalue())

    return change


@pytest.fixture(scope="session")
def chip() -> str:
    """A file's text that describes a machine of one's own."""
    return """
error = "a guess"
clock_mhz = 1
macs_per_cycle = 2
memory_bytes = 1000
activation_cycles = 1
spilled_cycles = 2
weight_cycles = 1
power_mw = 1
"""


@pytest.fixture
def run_copy(finished_run, tmp_path) -> Path:
    """A copy of the finished run, to be spoiled."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Calls the command in this process, in an empty directory.

    Returns the exit code and the lines on stderr; `cli.printed` is what stands on stdout.
    """
    from jaxnas import cli

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    class Command:
        printed = ""

        def __call__(self, *arguments) -> tuple[int, list[str]]:
            capsys.readouterr()
            code = cli.main([str(argument) for argument in arguments])
            said = capsys.readouterr()
            self.printed = said.out
            return code, without_times(said.err).splitlines()

    with commands_here(monkeypatch):
        yield Command()
