import math
import os
import resource
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.records import cache as caches
from jaxnas.records.cache import Store, digest, held_folder, source_digest
from jaxnas.stages.evaluation import stored


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))


def entries(*numbers):
    """Some keys, and values that name them."""
    return {f"{i} 0 {i}": [i, i / 3] for i in numbers}


KEYS = list(entries(*range(40)))


def known(store, keys=tuple(KEYS[:4])):
    """Which keys have a value; it must be theirs."""
    found = store.get(keys)
    for key, value in zip(keys, found, strict=True):
        assert value in (None, entries(int(key.split()[0]))[key])
    return [value is not None for value in found]


def test_what_is_put_is_found_by_others_and_by_name():
    assert Store("toys", "a").get(KEYS) == [None] * 40
    first = Store("toys", "a")
    first.put(entries(*range(25)))
    for one in (first, Store("toys", "a")):
        assert known(one, KEYS[::-1]) == [False] * 15 + [True] * 25
    for other in (Store("toys", "b"), Store("others", "a")):
        assert not any(known(other))
    assert first.get([]) == []


def test_values_come_back_as_they_are():
    third = float(np.float32(1) / 3)
    values = [math.inf, third, 'a, "b"\n\u2028é', {"a": [None, True, {}], "": 0}]
    Store("toys", "a").put(dict(zip("abcd", values, strict=True)) | {"nan": math.nan})
    *found, nan = Store("toys", "a").get([*"abcd", "nan"])
    assert found == values and math.isnan(nan)


def test_the_first_value_stays_and_others_see_it():
    one = Store("toys", "a")
    other = Store("toys", "a")
    assert not any(known(other))
    one.put(entries(0, 1))
    other.put({KEYS[0]: "another", KEYS[2]: [2, 2 / 3]})
    for each in (one, other, Store("toys", "a")):
        assert known(each) == [True, True, True, False]


def test_every_cut_leaves_the_whole_lines_before_it():
    Store("toys", "a").put(entries(0, 1, 2, 3))
    path = Store("toys", "a").path
    data = path.read_bytes()
    ends = [i + 1 for i in range(len(data)) if data[i : i + 1] == b"\n"]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        one = Store("toys", "a")
        whole = [end <= cut for end in ends]
        assert known(one) == whole
        one.put(entries(3))
        assert known(Store("toys", "a")) == [*whole[:3], True]
        assert path.read_bytes().count(b"\n") == sum(whole[:3]) + 1


def test_a_damaged_byte_loses_its_line_alone():
    """Or the one after it too, where it was the end of the line."""
    Store("toys", "a").put(entries(0, 1, 2))
    path = Store("toys", "a").path
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        line = data[:i].count(b"\n")
        lost = {line, line + (data[i : i + 1] == b"\n")}
        assert known(Store("toys", "a")) == [row not in lost for row in range(3)] + [False]


@pytest.mark.parametrize("line", [b"", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_lines_that_nobody_wrote_are_not_read(line):
    Store("toys", "a").put(entries(0))
    path = Store("toys", "a").path
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert known(Store("toys", "a")) == [True, False, False, False]


def test_a_file_deleted_under_way_begins_anew():
    one = Store("toys", "a")
    one.put(entries(0, 1, 2))
    assert known(one) == [True, True, True, False]
    one.path.unlink()
    one.put(entries(3))
    assert all(known(one))
    assert known(Store("toys", "a")) == [False, False, False, True]


WRITER = """
import sys
from jaxnas.records.cache import Store
start = int(sys.argv[1])
for i in range(start, start + 600, 3):
    Store("toys", "shared").put({f"{j} 0 {j}": [j, j / 3] for j in range(i, i + 3)})
"""


def test_processes_share_a_file():
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, start]) for start in ("0", "300")]
    assert [writer.wait() for writer in writers] == [0, 0]
    one = Store("toys", "shared")
    assert all(known(one, list(entries(*range(900)))))
    assert one.path.read_bytes().count(b"\n") == 900  # each once


def test_a_full_disk_is_said_once_and_leaves_whole_lines(capsys):
    one = Store("toys", "a")
    one.put(entries(*range(10)))
    before = one.path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, old[1]))
    try:
        one.put(entries(*range(10, 30)))
        one.put(entries(*range(30, 40)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    warning = capsys.readouterr().err
    assert (
        warning.count("\n") == 1
        and "going on without a cache: cannot use" in warning
        and "File too large" in warning
    )
    assert all(known(one, KEYS))
    other = Store("toys", "a")
    assert other.path.read_bytes() == before and sum(known(other, KEYS)) == 10


@pytest.mark.parametrize("how", ["file", "below", "null", "entry", "pipe"])
def test_a_cache_that_cannot_be_used_is_said_once_and_loses_nothing(
    capsys, monkeypatch, tmp_path, how
):
    place = {"file": tmp_path / "file", "below": tmp_path / "file/x", "null": "/dev/null"}.get(
        how, tmp_path
    )
    (tmp_path / "file").write_text("mine")
    (tmp_path / "toys").mkdir()
    if how == "entry":
        (tmp_path / "toys/a.jsonl").mkdir()
    if how == "pipe":
        os.mkfifo(tmp_path / "toys/a.jsonl")
    monkeypatch.setenv("JAXNAS_CACHE", str(place))
    caches._warn.cache_clear()
    one = Store("toys", "a")
    for i in (0, 1):
        assert known(one)[i:] == [False] * (4 - i)
        one.put(entries(i))
    assert known(one) == [True, True, False, False]
    assert capsys.readouterr().err.count("going on without a cache") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_name_is_no_name_and_a_home_is_not_needed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.cache_folder() == tmp_path / ".cache/jaxnas"

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(caches.Path, "home", no_home)
    caches._warn.cache_clear()
    one = Store("toys", "a")
    one.put(entries(0))
    assert (
        known(one)[0]
        and "no home folder for the cache: set JAXNAS_CACHE" in capsys.readouterr().err
    )
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))
    assert caches.cache_folder() == tmp_path / "cache"


def test_a_folder_is_held_by_one_at_a_time():
    """Who waits for it finds what the other has put there."""
    found = []

    def look():
        with held_folder("toys", "a") as folder:
            found.extend(path.name for path in folder.iterdir())

    with held_folder("toys", "a") as folder, held_folder("toys", "b"):
        waiting = threading.Thread(target=look)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and not found
        (folder / "whole").touch()
    waiting.join(60)
    assert sorted(found) == [".lock", "whole"]


# What a search asks the store


def test_each_network_is_asked_for_once_and_failures_again(small_mobilenet):
    """In batches of one size, in which other rows have no resolution that exists."""
    space = small_mobilenet((8, 12), 1, 3)
    calls = []
    draw = np.array(space.sample(jax.random.key(0), 12))
    draw[5] = draw[1]
    draw[7] = draw[1]
    draw[7, [gene.name for gene in space.genes].index("mb2_kernel")] ^= 1
    failing = draw[2]

    def evaluate(asked):
        wanted = asked[:, space.static] >= 0
        calls.append(asked[wanted].tolist())
        assert asked.shape == draw.shape
        values = np.where(
            (asked == np.asarray(space.canonical(failing))).all(axis=1),
            np.nan,
            asked @ np.arange(len(space.genes)) + 1.0,
        )
        return np.where(wanted, values, np.nan)[:, None].astype(np.float32)

    canonical = np.asarray(space.canonical(draw))
    distinct = np.unique(canonical, axis=0).tolist()
    expected = evaluate(canonical)[:, 0]
    for _ in range(2):  # the second store reads what the first has left
        calls.clear()
        through = stored(Store("evaluations", "a"), space, evaluate)
        for rows in (draw[::-1], draw):
            np.testing.assert_array_equal(
                through(rows), expected[::-1] if rows is not draw else expected
            )
    assert calls == [[space.canonical(failing).tolist()]] * 2 and len(distinct) < 12


# Digests


def test_a_digest_follows_values_not_containers():
    base = {"a": np.arange(6, dtype=np.int32), "b": {"c": 1, "d": ["x", 2.5, None, True]}}
    same = {"b": {"d": ("x", 2.5, None, True), "c": 1}, "a": jnp.arange(6, dtype=jnp.int32)}
    assert digest(base) == digest(same) and len(digest(base)) == 64
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert digest(fortran) == digest(np.ascontiguousarray(fortran))


@pytest.mark.parametrize(
    "one, other",
    [
        (np.arange(6), np.arange(6).reshape(2, 3)),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (np.zeros(2, np.float32), np.array([0.0, 1e-45], np.float32)),
        (["ab", "c"], ["a", "bc"]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"b": 1}),
        ({"a": {"b": 1}}, {"a": [{"b": 1}]}),
        (1, "1"),
    ],
)
def test_digests_tell_apart(one, other):
    assert digest(one) != digest(other)


def test_the_source_digest_follows_the_files_named(monkeypatch, tmp_path):
    monkeypatch.setattr(caches, "PACKAGE", tmp_path)
    (tmp_path / "spaces").mkdir()
    for name in ("spaces/space.py", "spaces/notes.txt", "objectives.py", "cli.py"):
        (tmp_path / name).write_text(name)

    def now():
        source_digest.cache_clear()
        return source_digest("spaces", "objectives.py")

    digests = [now()]
    for name in ("spaces/notes.txt", "cli.py"):
        (tmp_path / name).write_text("other")
        assert now() == digests[0]
    for name in ("spaces/space.py", "objectives.py", "spaces/new.py"):
        (tmp_path / name).write_text("other")
        digests.append(now())
    assert len(set(digests)) == 4
    source_digest.cache_clear()
