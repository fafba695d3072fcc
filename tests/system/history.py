# SPDX-License-Identifier: Apache-2.0
"""From workers to a verdict of the checker."""

import checker


def judge(producers, late, readers=(), **options):
    """Judges the workers' lines.

    late: the lines of a consumer that read everything after the fault; readers: workers that read
    meanwhile. What is wrong, as sentences.
    """
    history = checker.History()
    for worker in producers:
        history.add_producer(worker.lines())
    history.add_consumer("late", late)
    for worker in readers:
        history.add_consumer(worker.name, worker.lines())
    wrong = checker.judge(history, complete=["late"], **options)
    wrong += [f"a consumer could not go on: {line}" for line in late if line.startswith("error")]
    for worker in readers:
        wrong += [f"{worker.name}: {line}" for line in worker.lines() if line.startswith("error")]
    return wrong


def expect_good(producers, late, readers=(), least=1, **options):
    """Fails with what is wrong, or when there was too little to judge."""
    wrong = judge(producers, late, readers, **options)
    assert not wrong, wrong[:20]
    acked = sum(worker.count("ack") for worker in producers)
    assert acked >= least, f"only {acked} records were acknowledged"
    failed = [line for worker in producers for line in worker.lines() if line.startswith("fail")]
    assert not failed, failed[:5]
