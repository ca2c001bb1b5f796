"""Runs a HEF on this machine's Hailo chip through `hailortcli`.

Needs Python 3.8 or newer, nothing else.

    python hailo_measure.py OUT [model.hef] --seconds 2

Identifies the board. A HEF is then taken apart and run at batch 1 and 8, each for its throughput
(streaming) and for its latency. OUT gets result.json, all that was said, to be understood by the
caller:

    [{"name": "identify", "code": 0, "output": "Executing on ...", "csv": ""}, ...]

`code` is null where the command was stopped because it hung. Nothing is run after that, nor where
board or HEF are not known; without `hailortcli` the list is empty.
"""

import argparse
import json
import os
import shutil
import subprocess

GRACE = 60  # seconds that a command may take besides those it measures for
BATCHES = (1, 8)


def main():
    """Ask one command after the other, as long as it makes sense."""
    parser = argparse.ArgumentParser(description="run a HEF")
    parser.add_argument("out")
    parser.add_argument("hef", nargs="?")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--grace", type=float, default=GRACE)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    answers = []
    if shutil.which("hailortcli"):
        for name, command, csv in commands(arguments.hef, arguments.seconds):
            answers.append(
                {
                    "name": name,
                    **ask(["hailortcli", *command], csv, arguments.seconds + arguments.grace),
                }
            )
            if answers[-1]["code"] is None or (answers[-1]["code"] and not csv):
                break
    with open(os.path.join(arguments.out, "result.json"), "w", encoding="utf-8") as file:
        json.dump(answers, file)


def commands(hef, seconds):
    """Name, arguments and CSV file of each call."""
    yield "identify", ["fw-control", "identify", "--extended"], ""
    if hef is None:
        return
    yield "parse-hef", ["parse-hef", hef], ""
    for batch in BATCHES:
        run = ["run", hef, "-t", str(seconds), "--batch-size", str(batch), "--dont-show-progress"]
        for mode, options in (
            ("streaming", []),
            ("latency", ["--measure-latency", "--measure-overall-latency"]),
        ):
            name = f"{mode}-{batch}"
            yield name, [*run, *options, "--csv", name + ".csv"], name + ".csv"


def ask(command, csv, timeout):
    """The answer of one command; what it prints goes to a file, which nobody has to wait for."""
    environment = dict(os.environ, HAILORT_LOGGER_PATH="NONE")
    with open("output.txt", "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    return {
        "code": code,
        "output": read("output.txt"),
        "csv": read(csv) if csv and os.path.exists(csv) else "",
    }


def read(path):
    """A file as text, whatever is in it."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return file.read()


if __name__ == "__main__":
    main()
