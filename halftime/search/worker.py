"""Worker: a process that trains what it is told, a line of JSON a job, until its input ends.

It keeps to the cores that are named on its command line, which must be settled before torch is imported.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time

PATIENCE = 10.0  # seconds for the last step and its checkpoint, when whoever told it what to do is gone


def main(cores: list[int]) -> int:
    """Train until there is nothing more to train.

    Args:
        cores: numbers of the cores to use.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a user's code prints must not get between the answers
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    from halftime.errors import Stopped
    from halftime.search.engine import perform

    try:
        while line := jobs.get():
            print(json.dumps(perform(json.loads(line))), file=answers, flush=True)
    except (Stopped, BrokenPipeError):
        pass
    return 0


def _listen(jobs: queue.SimpleQueue[str]) -> None:
    """Pass on the lines; when they end, whatever is being trained is saved and ends, too."""
    for line in sys.stdin:
        jobs.put(line)
    jobs.put("")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]]))
