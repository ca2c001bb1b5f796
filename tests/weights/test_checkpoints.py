import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnas.errors import UserError
from jaxnas.weights.checkpoints import clean, latest_step, remove, restore, save


def _tree(seed):
    rng = np.random.default_rng(seed)
    params = {
        f"layer{i}": {
            "kernel": jnp.asarray(rng.normal(size=(3, 3, i)), jnp.float32),
            "scale": jnp.ones(i),
        }
        for i in range(4)
    }
    return {
        "params": params,
        "optimiser": optax.sgd(0.1, momentum=0.9).init(params),
        "step": int(rng.integers(2**40)),
        "best": float(rng.normal()),
        "done": bool(seed % 2),
        "key": jax.random.key_data(jax.random.key(seed)),
        "order": rng.permutation(2**10)[::3].astype(np.int64),
        "scalar": np.float32(rng.normal()),
        "half": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
        "odd": jnp.array([jnp.nan, -jnp.nan, -0.0, jnp.inf, 1e-45], jnp.float32),
        "mask": jnp.array([True, False]),
        "nothing": None,
    }


def _assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y), path
        x = np.asarray(x)
        y = np.asarray(y)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), path


def test_round_trip_is_exact(tmp_path, capfd):
    tree = _tree(1)
    save(tmp_path / "checkpoints", 7, tree)
    restored = restore(tmp_path / "checkpoints", _tree(2))
    _assert_identical(restored, tree)
    restored["order"][0] = 3  # NumPy leaves can be written to
    assert capfd.readouterr() == ("", ""), "orbax must not chatter"
    with pytest.raises(AssertionError):
        _assert_identical(restored, tree)
    with pytest.raises(AssertionError):
        _assert_identical(_tree(2), tree)


def test_shapes_alone_are_target_enough(tmp_path):
    tree = {"a": jnp.arange(3), "b": jnp.ones((2, 2), jnp.bfloat16)}
    save(tmp_path, 0, tree)
    _assert_identical(restore(tmp_path, jax.eval_shape(lambda: tree)), tree)


def test_trees_without_numbers(tmp_path):
    save(tmp_path, 1, {"a": np.zeros((0, 3)), "b": {}})
    _assert_identical(
        restore(tmp_path, {"a": np.ones((0, 3)), "b": {}}), {"a": np.zeros((0, 3)), "b": {}}
    )
    save(tmp_path, 2, {})
    assert restore(tmp_path, {}) == {}


def test_the_newest_steps_are_kept(tmp_path):
    assert latest_step(tmp_path) is None and latest_step(tmp_path / "none") is None
    for step in (0, 9, 10, 200):
        save(tmp_path, step, {"x": step}, keep=2)
        assert latest_step(tmp_path) == step
    assert sorted(os.listdir(tmp_path)) == ["10", "200"]
    for step in (200, 5):
        with pytest.raises(
            ValueError, match="checkpoint of step 200 already, so step must be above it"
        ):
            save(tmp_path, step, {"x": 0})
    assert restore(tmp_path, {"x": 0}) == {"x": 200}
    save(tmp_path, 201, {"x": 201})
    assert os.listdir(tmp_path) == ["201"]


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("checkpoints", 3, {"x": 1})
    assert restore("checkpoints", {"x": 0}) == {"x": 1}


def test_unfinished_checkpoints_are_ignored_and_cleared_away(tmp_path):
    (tmp_path / "9.orbax-checkpoint-tmp" / "data").mkdir(parents=True)
    assert latest_step(tmp_path) is None
    save(tmp_path, 8, {"x": 1})
    assert os.listdir(tmp_path) == ["8"]


def test_nothing_to_restore(tmp_path):
    with pytest.raises(
        UserError, match=r"there is no checkpoint in .*; run the training stage first"
    ):
        restore(tmp_path, {})


OTHERS = [
    (
        {"a": {"b": np.zeros(4, np.float32)}, "n": 1},
        r"a/b should be float32\[4\], found float32\[3\]",
    ),
    ({"a": {"b": np.zeros(3, np.int32)}, "n": 1}, r"a/b should be int32\[3\], found float32\[3\]"),
    ({"a": {"b": np.zeros(3, np.float32)}, "n": 1.0}, r"n should be float64\[\], found int64\[\]"),
    (
        {"a": {"a": 1, "b": np.zeros(3, np.float32)}, "n": 1},
        r"a/a should be int64\[\], found absent",
    ),
    ({"n": 1}, r"a/b should be absent, found float32\[3\]"),
    ([{"b": np.zeros(3, np.float32)}, 1], r"0/b should be float32\[3\], found absent"),
]


@pytest.mark.parametrize("target, message", OTHERS)
def test_a_checkpoint_of_another_space_names_the_first_differing_leaf(tmp_path, target, message):
    save(tmp_path, 5, {"a": {"b": np.zeros(3, np.float32)}, "n": 1})
    with pytest.raises(
        UserError, match=f"5 is a checkpoint of another network: {message}; use another --out"
    ) as caught:
        restore(tmp_path, target)
    assert "\n" not in str(caught.value)


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_damage_is_a_user_error_or_harmless_never_other_numbers(tmp_path, damage):
    tree = {"x": np.random.default_rng(0).integers(0, 255, 3000).astype(np.uint8), "n": 3}
    save(tmp_path / "good", 1, tree)
    chance = random.Random(0)
    refused = 0
    for trial in range(24):
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        files = _files(tmp_path / "bad")
        victim = files[trial % len(files)]
        data = bytearray(victim.read_bytes())
        if damage == "flip":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        victim.write_bytes(data[: chance.randrange(len(data))] if damage == "cut" else data)
        if damage == "delete":
            victim.unlink()
        try:
            _assert_identical(restore(tmp_path / "bad", tree), tree)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and "delete that folder" in str(error)
        shutil.rmtree(tmp_path / "bad")
    assert refused >= 6


def test_the_checksum_is_needed(tmp_path):
    """A flipped bit among the numbers is seen by the checksum alone.

    orbax reads it as if nothing were wrong.
    """
    tree = {"x": np.random.default_rng(0).integers(0, 255, 100_000).astype(np.uint8)}
    save(tmp_path, 1, tree)
    largest = max(_files(tmp_path), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[50_000] ^= 1
    largest.write_bytes(data)
    with pytest.raises(UserError, match=r"corrupt checkpoint .*/1; delete that folder") as caught:
        restore(tmp_path, tree)
    assert str(caught.value.__cause__) == "checksum"


FULL_DISK = """
import resource, signal, sys
import numpy as np
from jaxnas.weights.checkpoints import restore, save
from jaxnas.errors import UserError
save(sys.argv[1], 1, {"x": np.zeros(10)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    save(sys.argv[1], 2, {"x": np.random.default_rng(0).normal(size=100_000)})
except UserError as error:
    print(error)
print(restore(sys.argv[1], {"x": np.ones(10)})["x"].sum())
"""


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False
    )
    message, restored = result.stdout.splitlines()
    assert message.startswith(f"cannot write checkpoint {tmp_path}/2: ") and message.endswith(
        "; free some space, then run again"
    )
    assert restored == "0.0" and latest_step(tmp_path) == 1
    assert result.stderr == "" and [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_a_killed_process_left_is_cleaned_away(tmp_path):
    save(tmp_path, 3, {"x": 1})
    (tmp_path / "2.orbax-checkpoint-tmp/data").mkdir(parents=True)
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    remove(tmp_path)
    remove(tmp_path)
    assert not tmp_path.exists()


# A process that forks savers on demand: each child saves growing steps until it is killed.
SAVERS = """
import os, sys, time
import numpy as np
import orbax.checkpoint
from jaxnas.weights import checkpoints

def tree(step):
    return {f"leaf{i}": np.full(20_000, step, np.int32) for i in range(5)} | {"step": step}

def save_in_place(path, step, tree):
    os.makedirs(f"{path}/{step}", exist_ok=True)
    for name, leaf in tree.items():
        np.save(f"{path}/{step}/{name}.npy", leaf)

save = save_in_place if sys.argv[2] == "planted" else checkpoints.save
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        step = checkpoints.latest_step(sys.argv[1]) or 0
        print(os.getpid(), flush=True)
        while True:
            step += 1
            save(sys.argv[1], step, tree(step))
    os.waitpid(child, 0)
"""


def _first_broken(folder, how, check, kills, longest):
    """The kill, by SIGKILL at a random moment, after which what lies in `folder` fails the check.

    None if all pass.
    """
    chance = random.Random(0)
    command = [sys.executable, "-W", "ignore", "-c", SAVERS, str(folder), how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for kill in range(kills):
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            time.sleep(chance.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            try:
                if latest_step(folder) is not None:
                    check(folder)
            except (AssertionError, OSError, EOFError, ValueError, UserError):
                return kill
    assert (latest_step(folder) or 0) > 2, "too slow to say anything"


def _assert_restores(folder):
    names = [f"leaf{i}" for i in range(5)]
    restored = restore(folder, {name: np.zeros(20_000, np.int32) for name in names} | {"step": 0})
    assert restored["step"] == latest_step(folder)
    assert all((restored[name] == restored["step"]).all() for name in names)


def _assert_in_place(folder):
    for number in range(5):
        leaf = np.load(Path(folder) / str(latest_step(folder)) / f"leaf{number}.npy")
        assert (leaf == latest_step(folder)).all() and leaf.shape == (20_000,)


def test_sigkill_at_random_moments_always_leaves_a_good_checkpoint(tmp_path):
    assert _first_broken(tmp_path, "real", _assert_restores, 12, 0.5) is None


def test_the_kill_test_sees_checkpoints_written_in_place(tmp_path):
    assert _first_broken(tmp_path, "planted", _assert_in_place, 100, 0.1) is not None
