"""The compiler's log, in the spelling of public logs."""

import math

import pytest

from jaxnas.hardware.hailo.log import Utilisation, parse_log

TABLE = """[info] {name}_context_{i} utilization: 
[info] +-----------+---------------------+---------------------+--------------------+
[info] | Cluster   | Control Utilization | Compute Utilization | Memory Utilization |
[info] +-----------+---------------------+---------------------+--------------------+
[info] | cluster_0 | 93,8%               | 25%                 | 37,5%              |
[info] | cluster_5 | 100%                | 26,6%               | 40,6%              |
[info] +-----------+---------------------+---------------------+--------------------+
[info] | Total     | {control:<19} | {compute:<19} | {memory:<18} |
[info] +-----------+---------------------+---------------------+--------------------+
"""
SINGLE = """[info] Trying to compile the network in a single context
[info] Using Single-context flow
{table}[info] Successful Mapping (allocation time: 5s)
[info] Successful Compilation (compilation time: 7s)
"""
SEVERAL = """[warning] Reducing optimization level to 0 (the accuracy won't be optimized and \
compression won't be used) because there's less
[info] net/output_layer1 SNR:\t28.08 dB
[info] net/output_layer2 SNR: 26.70 dB
[info] Using Single-context flow
[info] Single context flow failed: Recoverable single context error
[info] Using Multi-context flow
Found valid partition to 2 contexts
[info] Searching for a better partition...
Found valid partition to 3 contexts, Performance improved by 6.1%
[info] Applying selected partition to 2 contexts...
{tables}[info] Successful Mapping (allocation time: 48m 22s)
[info] Successful Compilation (compilation time: 1m 4s)
"""


def table(i=0, control="60,9%", compute="16.4%", memory="27%"):
    return TABLE.format(name="net", i=i, control=control, compute=compute, memory=memory)


def test_one_context():
    log = parse_log(SINGLE.format(table=table()))
    assert log.contexts == 1
    assert log.utilisation == (Utilisation(0.609, 0.164, 0.27),)
    assert (log.allocation_seconds, log.compilation_seconds, log.warnings) == (5, 7, ())
    assert math.isnan(log.snr_db)


def test_several_contexts_and_a_table_of_a_failed_attempt():
    tables = table(control="99%") + table(0, "40%", "50%", "30%") + table(1, "20%", "80%", "10.5%")
    log = parse_log(SEVERAL.format(tables=tables))
    assert log.contexts == 2
    assert log.utilisation == (Utilisation(0.4, 0.5, 0.3), Utilisation(0.2, 0.8, 0.105))
    assert log.highest() == Utilisation(0.4, 0.8, 0.3)
    assert log.snr_db == 26.7
    assert (log.allocation_seconds, log.compilation_seconds) == (2902, 64)
    assert log.warnings == (
        "the optimisation level was lowered to 0: fewer than 1024 images, or no GPU",
    )


def test_colours_are_ignored():
    assert parse_log("\x1b[32m[info]\x1b[0m Using \x1b[1mSingle-context\x1b[0m flow").contexts == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[info] Trying to compile the network in a single context\n",
        "[info] Using Multi-context flow\n",
    ],
)
def test_what_a_log_does_not_say_is_missing(text):
    log = parse_log(text)
    assert (log.contexts, log.utilisation, log.warnings) == (None, (), ())
    highest = log.highest()
    assert all(
        map(
            math.isnan,
            [log.snr_db, log.allocation_seconds, highest.control, highest.compute, highest.memory],
        )
    )


def test_every_beginning_of_a_log_can_be_read():
    """A compiler may be killed at any time."""
    text = SEVERAL.format(tables=table(0) + table(1))
    logs = [parse_log(text[:n]) for n in range(len(text))]
    assert {log.contexts for log in logs} == {None, 1, 2, 3}
    assert {len(log.utilisation) for log in logs} == {0, 1, 2}


def test_numbers_that_are_none_are_not_known():
    log = parse_log(
        "| Total | 1.2.3% | 20% | ,% |\n"
        "SNR: 1.2.3 dB\n"
        "Found valid partition to 99999999999 contexts\n"
        "(allocation time: 1.2.3s)\n"
    )
    assert log.contexts is None and math.isnan(log.snr_db) and math.isnan(log.allocation_seconds)
    assert math.isnan(log.utilisation[0].control) and log.utilisation[0].compute == 0.2
