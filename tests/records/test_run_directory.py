import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import IO

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.records import run_directory
from jaxnas.records.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        yield run


def _output(process: subprocess.Popen) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


# The lock

LOCKER = """
import sys, time
from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory
try:
    with RunDirectory(sys.argv[1]):
        print("locked", flush=True)
        time.sleep(60)
except UserError as error:
    print(error, flush=True)
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    with _python(LOCKER, tmp_path) as first:
        assert _output(first).readline() == "locked\n"
        with _python(LOCKER, tmp_path) as second:
            refusal = _output(second).read()
        assert refusal == (
            f"{tmp_path} is in use by another process; wait until it ends, or use another --out\n"
        )
        first.kill()
    with RunDirectory(tmp_path) as run:
        run.write_json("config.json", {})
    with RunDirectory(tmp_path) as run:
        assert run.read_json("config.json") == {}


# Whose folder it is


def _names(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_only_what_a_run_left_half_written_is_deleted_and_only_when_it_is_known_to_be_meant(
    tmp_path,
):
    ours = [
        ".config.json.7.partial",
        "models/.net.onnx.7.partial",
        "compare/searches/.nsga2-0-ab.npz.7.partial",
    ]
    others = [
        ".film.mkv.partial",
        ".film.mkv.7.partial",
        "download/.data.json.7.partial",
        "models/net.partial",
        "models/.hidden",
    ]
    for name in (*ours, *others, "config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with RunDirectory(tmp_path) as run:
        assert set(ours) <= set(_names(tmp_path))
        run.clean()
        assert not set(ours) & set(_names(tmp_path)) and set(others) <= set(_names(tmp_path))


@pytest.mark.parametrize(
    "there", ["notes.txt", "inner/config.json", "models/net.onnx", ".film.mkv.7.partial"]
)
def test_a_folder_of_other_things_is_no_run(tmp_path, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    before = _names(tmp_path)
    with pytest.raises(
        UserError,
        match=(
            r"is not empty and holds no run: expected config\.json or space\.json, found .*; use "
            r"another --out"
        ),
    ):
        RunDirectory(tmp_path).__enter__()
    assert _names(tmp_path) == before


def test_what_a_refused_command_made_is_taken_back(tmp_path):
    with pytest.raises(UserError, match="no"), RunDirectory(tmp_path / "a/b"):
        raise UserError("no")
    assert _names(tmp_path) == []
    (tmp_path / "config.json").write_text("{}")
    with RunDirectory(tmp_path):
        pass
    assert _names(tmp_path) == ["config.json"]
    with RunDirectory(tmp_path / "a/b") as run:
        run.append_jsonl("metrics.jsonl", {})
    assert _names(tmp_path / "a") == ["b", "b/.lock", "b/metrics.jsonl"]


@pytest.mark.parametrize(
    "name, part",
    [
        ("gs://bucket/run", "a local folder"),
        ("file:///run", "a local folder"),
        ("", "named"),
        ("a\0b", "named"),
    ],
)
def test_what_is_no_local_folder_is_refused(monkeypatch, tmp_path, name, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"a run directory must be {part}, got "):
        RunDirectory(name)
    with RunDirectory("a:b/c") as run:
        run.write_json("config.json", {})
    assert _names(tmp_path) == ["a:b", "a:b/c", "a:b/c/.lock", "a:b/c/config.json"]


# Links, as a stranger's run may have them


def test_no_link_is_followed_on_writing(tmp_path):
    outside = tmp_path / "outside"
    root = tmp_path / "run"
    for folder in (outside, root):
        folder.mkdir()
    (outside / "mine").write_text("mine")
    (root / "config.json").write_text("{}")
    for name in ("models", "checkpoints"):
        (root / name).symlink_to(outside)
    for name in ("metrics.jsonl", "data.json", f".space.json.{os.getpid()}.partial"):
        (root / name).symlink_to(outside / "mine")
    with RunDirectory(root) as run:
        for name in ("models/net.onnx", "checkpoints", "checkpoints/supernet"):
            with pytest.raises(UserError, match="is a link, and a run's folders must lie in it"):
                run.path(name)
        with pytest.raises(UserError, match="it is a link: remove it"):
            run.append_jsonl("metrics.jsonl", {"x": 1})
        run.write_json("data.json", 1)
        run.write_json("space.json", 2)
        assert run.read_json("data.json") == 1 and run.read_json("space.json") == 2
    (root / ".lock").unlink()
    (root / ".lock").symlink_to(outside / "lock")
    with pytest.raises(UserError, match=r"cannot write .*\.lock: .*; it is a link: remove it"):
        RunDirectory(root).__enter__()
    assert _names(outside) == ["mine"] and (outside / "mine").read_text() == "mine"


def test_what_is_no_file_is_not_read(run):
    os.mkfifo(run.root / "data.json")
    with pytest.raises(UserError, match=r"data\.json must be a file"):
        run.read_json("data.json")


def test_names_of_files_that_are_not_utf8_are_kept(run):
    run.write_json("a.json", "\udcff é")
    assert run.read_json("a.json") == "\udcff é"
    run.append_jsonl("a.jsonl", {"x": "\udcff"})
    assert run.read_jsonl("a.jsonl") == [{"x": "\udcff"}]


def test_a_folder_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write in .*file: .*run the same command again$"),
        RunDirectory(tmp_path / "file"),
    ):
        pass


# Whole files


def test_names_stay_inside(run):
    for name in ("/etc/passwd", "../x", "models/../../x", "", ".", "a\0b", "a\ud800"):
        with pytest.raises(UserError, match="must be named by its path inside it"):
            run.write_text(name, "x")
    run.write_text("models/deep/x..txt", "é\n")
    assert run.exists("models/deep/x..txt") and run.read_text("models/deep/x..txt") == "é\n"


def test_json_round_trip(run):
    value = {"a": [1, 2.5, None, True, "é"], "b": {"c": {}}, "d": []}
    run.write_json("a.json", value)
    assert run.read_json("a.json") == value
    run.write_json(
        "b.json",
        {1: (float("nan"), np.float32("inf"), np.int32(3)), "x": jnp.arange(2), "p": run.root},
    )
    assert run.read_json("b.json") == {"1": [None, None, 3], "x": [0, 1], "p": str(run.root)}
    assert "NaN" not in run.read_text("b.json")


def test_npz_round_trip_is_exact_and_deterministic(run, monkeypatch):
    arrays = {
        "genomes": np.arange(12, dtype=np.int32).reshape(3, 4).T,
        "fitness": np.array([[np.nan, 0.1]], np.float32),
        "scalar": np.float64(1 / 3),
        "names": np.array(["a", "bc"]),
        "none": np.zeros((0, 5), np.bool_),
        "jax": jnp.ones((2,), jnp.uint8),
    }
    run.write_npz("a.npz", **arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    run.write_npz(
        "b.npz",
        **{
            name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape)
            for name in reversed(arrays)
        },
    )
    assert run.read_bytes("a.npz") == run.read_bytes("b.npz")
    read = run.read_npz("a.npz")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
    run.write_npz("empty.npz")
    assert run.read_npz("empty.npz") == {}


def test_npz_refuses_what_it_cannot_hold(run):
    for array in (np.array([object()]), np.ones(2, jnp.bfloat16)):
        with pytest.raises(TypeError, match="'x' has dtype"):
            run.write_npz("a.npz", x=array)
    assert not run.exists("a.npz")


def test_npz_never_unpickles(run, tmp_path):
    np.savez(run.path("a.npz"), x=np.array([tmp_path], dtype=object))
    with pytest.raises(UserError, match="corrupt"):
        run.read_npz("a.npz")


def test_damaged_files_are_user_errors(run):
    run.write_npz("a.npz", x=np.random.default_rng(0).integers(0, 255, 1000), y=np.ones(3))
    run.write_json("a.json", {"x": [1, 2]})
    chance = random.Random(0)
    for name, read in (("a.npz", run.read_npz), ("a.json", run.read_json)):
        data = run.read_bytes(name)
        whole = read(name)
        for length in [0, 1] + [chance.randrange(len(data) - 2) for _ in range(40)]:
            run.path(name).write_bytes(data[:length])
            with pytest.raises(
                UserError, match=f"corrupt: .*{name}; delete the file to redo this stage$"
            ):
                read(name)
        run.write_bytes(name, data)
        assert str(read(name)) == str(whole)


def test_flipped_bits_of_an_npz_never_give_other_numbers(run):
    arrays = {"x": np.random.default_rng(0).integers(0, 255, 100), "y": np.ones(3)}
    run.write_npz("a.npz", **arrays)
    data = run.read_bytes("a.npz")
    chance = random.Random(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        run.path("a.npz").write_bytes(damaged)
        try:
            read = run.read_npz("a.npz")
        except UserError:
            refused += 1
        else:
            for name in set(read) & set(arrays):
                np.testing.assert_array_equal(read[name], arrays[name], strict=True)
    assert refused > 100


def test_missing_files_are_user_errors(run):
    for read in (run.read_json, run.read_npz, run.read_text, run.read_csv, run.read_jsonl):
        with pytest.raises(UserError, match="x does not exist; run the stage that writes it first"):
            read("x")


@pytest.mark.parametrize(
    "code, advice",
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "check its permissions"),
        (errno.EIO, "disk"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(run, monkeypatch, code, advice):
    run.write_json("a.json", 1)

    def fail(*_):
        raise OSError(code, os.strerror(code))

    before = sorted(os.listdir(run.root))
    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(run_directory.os, function, fail)
            with pytest.raises(
                UserError, match=f"cannot write .*a.json: {os.strerror(code)}; .*{advice}"
            ) as caught:
                run.write_json("a.json", 2)
        assert "\n" not in str(caught.value)
        assert run.read_json("a.json") == 1 and sorted(os.listdir(run.root)) == before


FILLER = """
import os, resource, signal, sys
from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with RunDirectory(sys.argv[1]) as run:
    run.write_text("a.txt", "small")
    for number in range(20):
        try:
            run.append_csv("a.csv", {"x": number, "y": "y" * 90})
            run.append_jsonl("a.jsonl", {"x": number, "y": "y" * 90})
        except UserError as error:
            print(error)
    try:
        run.write_text("a.txt", "x" * 5000)
    except UserError as error:
        print(error)
"""


def test_a_disk_that_really_refuses(tmp_path):
    with _python(FILLER, tmp_path) as process:
        output = _output(process).read().splitlines()
    assert process.returncode == 0
    assert output[-1] == (
        f"cannot write {tmp_path}/a.txt: File too large; free some space, then run the same "
        "command again"
    )
    assert len(output) == 12, "one line and ten rows do not fit, nor does the text"
    run = RunDirectory(tmp_path)
    assert run.read_text("a.txt") == "small"
    assert [row["x"] for row in run.read_csv("a.csv")] == [str(number) for number in range(10)]
    assert run.read_bytes("a.csv").endswith(b"\n"), "what did not fit is taken back at once"
    assert sorted(os.listdir(tmp_path)) == [".lock", "a.csv", "a.jsonl", "a.txt"]


# Files that grow


def test_csv_round_trip(run):
    rows = [
        {"name": 'a,"b"', "x": 0.1 + 0.2, "n": np.int32(3), "ok": True},
        {"name": "two\nlines", "x": float("nan"), "n": jnp.int32(4), "ok": None},
        {"ok": False, "n": 5, "x": np.float32(0.1), "name": "é"},
    ]
    run.write_csv("whole.csv", rows)
    for row in rows:
        run.append_csv("grown.csv", row)
    assert run.read_bytes("whole.csv") == run.read_bytes("grown.csv")
    first, second, third = run.read_csv("grown.csv")
    assert first == {"name": 'a,"b"', "x": "0.30000000000000004", "n": "3", "ok": "True"}
    assert second == {"name": "two lines", "x": "nan", "n": "4", "ok": ""}
    assert np.float32(third["x"]) == np.float32(0.1) and third["name"] == "é"
    run.write_csv("empty.csv", [])
    assert run.read_csv("empty.csv") == []


def test_csv_columns_must_agree(run):
    run.append_csv("a.csv", {"x": 1, "y": 2})
    for row in ({"x": 1}, {"x": 1, "z": 2}, {"x": 1, "y": 2, "z": 3}):
        for again in (run, RunDirectory(run.root)):
            with pytest.raises(
                UserError, match=r"a.csv has the columns x, y, got x.*; delete the file"
            ):
                again.append_csv("a.csv", row)
        with pytest.raises(UserError):
            run.write_csv("b.csv", [{"x": 1, "y": 2}, row])
    with pytest.raises(TypeError, match="'x' must be a string"):
        run.append_csv("a.csv", {"x": np.ones(2), "y": 1})
    assert run.read_csv("a.csv") == [{"x": "1", "y": "2"}] and not run.exists("b.csv")


ROWS = [{"x": f"{number},", "y": str(number)} for number in range(3)]


def _grow(run, name, row):
    (run.append_csv if name.endswith("csv") else run.append_jsonl)(name, row)


def _grown(run, name):
    return (run.read_csv if name.endswith("csv") else run.read_jsonl)(name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_grows_on(run, name):
    for row in ROWS:
        _grow(run, name, row)
    assert _grown(run, name) == ROWS
    data = run.read_bytes(name)
    for length in range(len(data)):
        run.path(name).write_bytes(data[:length])
        whole = max(data[:length].count(b"\n") - name.endswith("csv"), 0)
        assert _grown(run, name) == ROWS[:whole]
        # This process, which has seen the file longer, and a new one.
        for again in (run, RunDirectory(run.root)):
            run.path(name).write_bytes(data[:length])
            _grow(again, name, ROWS[0])
            _grow(again, name, ROWS[1])
            assert _grown(run, name) == ROWS[:whole] + ROWS[:2]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_broken_line_is_dropped_at_the_end_and_refused_elsewhere(run, name):
    for row in ROWS:
        _grow(run, name, row)
    data = run.read_bytes(name)
    run.path(name).write_bytes(data + b'"broken\n')
    assert _grown(run, name) == ROWS
    _grow(run, name, ROWS[0])
    assert run.read_bytes(name).startswith(data) and _grown(run, name) == [*ROWS, ROWS[0]]
    for tail in (data.splitlines(keepends=True)[-1], b"unfinished"):
        run.path(name).write_bytes(data + b'"broken\n' + tail)
        line = len(data.splitlines()) + 1
        for touch in (lambda: _grown(run, name), lambda: _grow(run, name, ROWS[0])):
            with pytest.raises(
                UserError,
                match=f"corrupt: line {line} of .*{name}; delete the file to redo this stage$",
            ):
                touch()
    run.path(name).write_bytes(b'"broken\n' + data)
    with pytest.raises(UserError, match="corrupt: line 1 of"):
        _grown(run, name)


def test_a_deleted_file_starts_again_with_its_header(run):
    run.append_csv("a.csv", {"x": 1})
    run.path("a.csv").unlink()
    run.append_csv("a.csv", {"z": 2})
    assert run.read_csv("a.csv") == [{"z": "2"}]


def test_jsonl_has_no_nan(run):
    run.append_jsonl("a.jsonl", {"loss": jnp.float32(jnp.nan), "step": np.int64(3)})
    assert run.read_jsonl("a.jsonl") == [{"loss": None, "step": 3}]
    assert json.loads(run.read_text("a.jsonl")) == {"loss": None, "step": 3}


WRITER = """
import json, sys, time
from jaxnas.records.run_directory import RunDirectory

def in_place(name, value):
    text = json.dumps(value)
    with open(run.path(name), "w") as file:
        for part in (text[:1000], text[1000:]):
            file.write(part)
            file.flush()
            time.sleep(0.02)  # a slow disk

with RunDirectory(sys.argv[1]) as run:
    start = len(run.read_jsonl("a.jsonl")) if run.exists("a.jsonl") else 0
    if sys.argv[2] == "planted":
        run.write_json = in_place
    run.write_text("space.json", "{}")  # makes it a run
    print("ready", flush=True)
    for number in range(start, 10**9):
        run.append_jsonl("a.jsonl", {"number": number, "padding": "x" * 5000})
        run.write_json("a.json", [number] * 50000)
"""


def _first_broken(folder, how, kills):
    """The kill, by SIGKILL at a random moment, that leaves inconsistent files.

    None if none does.
    """
    chance = random.Random(0)
    run = RunDirectory(folder)
    numbers: list[int] = []
    for kill in range(kills):
        with _python(WRITER, folder, how) as process:
            _output(process).readline()
            time.sleep(chance.uniform(0.01, 0.2))
            process.send_signal(signal.SIGKILL)
        try:
            numbers = [record["number"] for record in run.read_jsonl("a.jsonl")]
            assert numbers == list(range(len(numbers)))
            whole = run.read_json("a.json") if run.exists("a.json") else [0] * 50000
            assert whole == [whole[0]] * 50000 and whole[0] < max(len(numbers), 1)
        except (UserError, AssertionError):
            return kill
    assert len(numbers) > 2, "too slow to say anything"


def test_sigkill_at_random_moments_breaks_nothing(tmp_path):
    assert _first_broken(tmp_path, "real", 8) is None


def test_the_kill_test_sees_files_written_in_place(tmp_path):
    assert _first_broken(tmp_path, "planted", 20) is not None
