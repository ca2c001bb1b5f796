"""Why the Dataflow Compiler failed: a kind in a word or two, and the reason in one line.

Exceptions are known by the names of their classes, whose modules have moved between versions of the
compiler.
"""

KINDS = {
    "BackendAllocatorException": "allocator",
    "AllocatorScriptParserException": "script",
    "ParsingWithRecommendationException": "parser",
    "UnsupportedModelError": "parser",
    "MisspellNodeError": "parser",
    "BadInputsShape": "quantisation",
    "MemoryError": "memory",
}
STAGES = {
    "start": "version",
    "parse": "parser",
    "script": "script",
    "optimise": "quantisation",
    "compile": "allocator",
}
LONGEST = 600  # characters of a reason


def explain(stage, error):
    """The failure and its reason, where `error` was raised in `stage`.

    One of STAGES, or another, which is its own kind.

    >>> explain("compile", ValueError("no\\n luck"))
    {'failure': 'allocator', 'reason': 'ValueError: no luck'}
    >>> explain(
    ...     "parse",
    ...     ModuleNotFoundError("No module named 'hailo_sdk_client'", name="hailo_sdk_client"),
    ... )
    {'failure': 'missing SDK', 'reason': "ModuleNotFoundError: No module named 'hailo_sdk_client'"}
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    reason = f"{names[0]}: {' '.join(str(error).split())}"
    ends = getattr(error, "recommended_end_node_names", None)
    if ends:
        reason += " (the parser recommends to end at {})".format(", ".join(map(str, ends)))
    return {"failure": _kind(stage, error, names), "reason": reason[:LONGEST]}


def _kind(stage, error, names):
    if isinstance(error, ImportError):
        missing = isinstance(error, ModuleNotFoundError) and str(error.name).startswith("hailo_")
        return "missing SDK" if missing else "version"
    if isinstance(error, OSError):
        return "machine"
    return next((KINDS[name] for name in names if name in KINDS), STAGES.get(stage, stage))
