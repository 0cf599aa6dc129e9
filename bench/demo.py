"""The demo, timed from outside: at most 6 minutes on two cores, verdict proved or provisional, ratio at least 2.

`python -m bench.demo` runs `make demo` in a checkout whose environment is warm, with a ledger of its own, and reads the
proof from it: its estimate and its interval.
"""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench import tables
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    given = tables.options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        environment = {**os.environ, "HALFTIME_LEDGER": folder + "/ledger"}
        done = subprocess.run(["make", "demo"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False)
        seconds = time.perf_counter() - start
        ledger = Ledger(Path(folder) / "ledger")
        proof = Proof.load(ledger.proofs[-1], ledger)
    if proof.ratio is None:
        raise SystemExit("the demo ended without a pair of runs")
    name, ratio = proof.workload["name"], proof.ratio
    took = "seconds that `make demo` takes from a warm environment"
    sooner = f"how many times sooner the demo's fast arm meets the target ({name}): {proof.verdict}"
    figures: list[tables.Figure] = [
        tables.sample("demo seconds", took, "at most 360", "s", [seconds]),
        {
            "name": "demo ratio", "question": sooner, "predicted": "at least 2", "unit": "×", "n": ratio.n,
            "median": ratio.estimate, "spread": [ratio.low, None if math.isinf(ratio.high) else ratio.high],
            "spread_is": "interval of its proof",
        },
    ]  # fmt: skip
    tries = [
        {"learning rate": lr, "met by s": hit, "last score": score if math.isfinite(score) else None}
        for lr, hit, score in proof.base.tuning.tries
    ]
    judged = [{"exit code of make": done.returncode, "verdict": proof.words}]
    tables.publish(given, figures, {"the base arm's learning rates": tries, "the proof": judged})


if __name__ == "__main__":
    main()
