"""ONNX to HEF with Hailo's Dataflow Compiler 3.x.

Runs in the compiler's interpreter (Python 3.8 or newer).

    python hailo_compile.py model.onnx calibration.npy model.alls OUT --name NAME
        [--hw-arch hailo8l]

The compiler writes its logs into the working directory: call it in a scratch folder. OUT gets
parsed.har, quantised.har, model.hef and result.json, which is written before every stage, so that
it tells where a killed compiler was:

    {"stage": "compile", "failure": "", "reason": "", "version": "3.33.0", "seconds": 312.5}

A failed compile is a result: `failure` is then a kind (hailo_failures.py), `reason` a line, and the
exit code 0.
"""

import argparse
import json
import os
import time
import traceback

import hailo_failures


def main():
    """Record every stage in OUT/result.json; the exit code is 0 unless something here is broken."""
    parser = argparse.ArgumentParser(description="ONNX to HEF")
    for name in ("model", "calibration", "script", "out"):
        parser.add_argument(name)
    parser.add_argument("--name", required=True)
    parser.add_argument("--hw-arch", default="hailo8l")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    result = {"stage": "start", "failure": "unfinished", "reason": "", "version": ""}
    began = time.monotonic()

    def note(**changes):
        result.update(changes)
        write_json(
            os.path.join(arguments.out, "result.json"),
            dict(result, seconds=round(time.monotonic() - began, 3)),
        )

    note()
    try:
        compile_model(arguments, note)
        note(failure="")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        note(**hailo_failures.explain(result["stage"], error))


def compile_model(arguments, note):
    """All stages in order; `note` records each before it begins."""
    import hailo_sdk_client as sdk
    import numpy

    note(version=str(getattr(sdk, "__version__", "")))
    check_architecture(arguments.hw_arch, sdk)
    runner = sdk.ClientRunner(hw_arch=arguments.hw_arch)
    note(stage="parse")
    runner.translate_onnx_model(arguments.model, net_name=arguments.name)
    runner.save_har(os.path.join(arguments.out, "parsed.har"))
    note(stage="script")
    with open(arguments.script, encoding="utf-8") as file:
        runner.load_model_script(file.read())
    note(stage="optimise")
    runner.optimize(numpy.load(arguments.calibration, allow_pickle=False))
    runner.save_har(os.path.join(arguments.out, "quantised.har"))
    note(stage="compile")
    hef = runner.compile()
    with open(os.path.join(arguments.out, "model.hef"), "wb") as file:
        file.write(hef)


def check_architecture(hw_arch, sdk):
    """Refuse a compiler for other chips: 5.x knows Hailo-10 and 15 only."""
    try:
        from hailo_sdk_client.exposed_definitions import SUPPORTED_HW_ARCHS
    except ImportError:
        return
    if hw_arch not in SUPPORTED_HW_ARCHS:
        known = ", ".join(sorted(map(str, SUPPORTED_HW_ARCHS)))
        raise ValueError(
            f"the compiler {sdk.__version__} is not for {hw_arch}, it knows {known}; install 3.x"
        )


def write_json(path, value):
    """Whole or not at all."""
    with open(path + ".partial", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(path + ".partial", path)


if __name__ == "__main__":
    main()
