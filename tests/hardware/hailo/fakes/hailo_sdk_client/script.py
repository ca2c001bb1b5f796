"""Model scripts: the commands that small classifiers need."""

import ast
import re

from .exceptions import AllocatorScriptParserException

COMMAND = re.compile(r"(?:(?P<target>\w+) = )?(?P<name>\w+)\((?P<arguments>.*)\)")
KNOWN = {
    "normalization": set(),
    "model_optimization_flavor": {"optimization_level", "compression_level", "batch_size"},
    "model_optimization_config": {"batch_size", "calibset_size"},
    "performance_param": {
        "compiler_optimization_level",
        "optimize_for_batch",
        "optimize_for_power",
    },
    "context_switch_param": {"mode"},
    "allocator_param": {"timeout"},
    "set_seed": {"seed"},
}


def parse(text):
    """Name and arguments of each command: a list of positional ones, a dict of the named."""
    commands = []
    for number, line in enumerate(text.splitlines(), 1):
        match = COMMAND.fullmatch(line.strip())
        if match is None or match["name"] not in KNOWN:
            raise AllocatorScriptParserException(f"Parsing failed at line {number}: {line!r}")
        positional, named = arguments(match["arguments"])
        unknown = set(named) - KNOWN[match["name"]]
        if unknown:
            raise AllocatorScriptParserException(
                f"Invalid arguments {sorted(unknown)} of {match['name']} at line {number}"
            )
        commands.append((match["name"], positional, named))
    return commands


def arguments(text):
    call = ast.parse(f"f({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    return [value(node) for node in call.args], {
        str(keyword.arg): value(keyword.value) for keyword in call.keywords
    }


def value(node):
    """Words such as max, calibration and enabled stand without quotes."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
