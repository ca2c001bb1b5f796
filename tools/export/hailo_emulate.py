"""What a quantised network computes, by the Dataflow Compiler's emulator.

Runs in the compiler's interpreter (3.8 or newer).

    python hailo_emulate.py quantised.har images.npy OUT

`images.npy` is (n, height, width, channels), raw 0..255 where the network normalises on chip. OUT
gets logits.npy, (n, classes) float32, and result.json as hailo_compile.py writes it; a compiler
without an emulator is a result.
"""

import argparse
import os
import traceback

import hailo_compile
import hailo_failures

BATCH = 8


def main():
    """Write OUT/result.json, and OUT/logits.npy where there is an emulator."""
    parser = argparse.ArgumentParser(description="emulate a quantised HAR")
    for name in ("har", "images", "out"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    result = {"stage": "emulate", "failure": "", "reason": ""}
    try:
        emulate(arguments)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        result.update(hailo_failures.explain("emulator", error))
    hailo_compile.write_json(os.path.join(arguments.out, "result.json"), result)


def emulate(arguments):
    """Write the logits."""
    import numpy
    from hailo_sdk_client import ClientRunner, InferenceContext

    runner = ClientRunner(har=arguments.har)
    images = numpy.load(arguments.images, allow_pickle=False)
    with runner.infer_context(InferenceContext.SDK_QUANTIZED) as context:
        outputs = runner.infer(context, images, batch_size=BATCH)
    logits = numpy.asarray(the_output(outputs), numpy.float32).reshape(len(images), -1)
    numpy.save(os.path.join(arguments.out, "logits.npy"), logits)


def the_output(outputs):
    """Of a network with one output; some versions put it into a list or a dict."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        (outputs,) = outputs
    return outputs


if __name__ == "__main__":
    main()
