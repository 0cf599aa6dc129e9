"""The demo, timed from outside: at most 6 minutes on two cores, verdict proved or provisional, ratio at least 2.

`python -m bench.demo` runs `make demo` in a checkout whose environment is warm, with a ledger of its own, and reads the
proof from it. The ratios are those of the demo's paired seeds; where the base missed, the ratio is what it is at least.
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
    pairs = zip(proof.base.runs, proof.fast.runs, strict=True)
    ratios = [(b.hit[1] if b.hit else b.seconds) / f.hit[1] for b, f in pairs if f.hit]
    name = proof.workload["name"]
    took = "seconds that `make demo` takes from a warm environment"
    sooner = f"how many times sooner the demo's fast arm meets the target ({name}): {proof.verdict}"
    figures = [
        tables.sample("demo seconds", took, "at most 360", "s", [seconds]),
        tables.sample("demo ratio", sooner, "at least 2", "×", ratios),
    ]
    tries = [
        {"learning rate": lr, "met by s": hit, "last score": score if math.isfinite(score) else None}
        for lr, hit, score in proof.base.tuning.tries
    ]
    judged = [{"exit code of make": done.returncode, "verdict": proof.words}]
    tables.publish(given, figures, {"the base arm's learning rates": tries, "the proof": judged})


if __name__ == "__main__":
    main()
