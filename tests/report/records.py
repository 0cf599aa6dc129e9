"""Runs and proofs written record by record, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from halftime.ledger.lines import Writer
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.methods import SGD, AdamW, OneCycle
from halftime.recipe import Recipe
from halftime.run import Run

BASE = Recipe([SGD(lr=0.1)], epochs=20, batch_size=64)
FAST = Recipe([AdamW(lr=3e-3), OneCycle()], epochs=8, batch_size=64)
HOST = "gpu-node-417"
WORKLOAD = {
    "name": "made-up", "source": "made-up", "target": 0.9, "better": "higher", "margin": 0.0045, "data": "0a1b2c3d"
}  # fmt: skip
FINGERPRINT = {
    "code": {"commit": "4c7e0f16ae3adfaaaa03df08c48e877e0de8ec49", "dirty": None},
    "packages": {"python": "3.11.7", "halftime": "0.1.0", "torch": "2.13.0"},
    "machine": {"system": "Linux 6.1", "cpu": "Some CPU", "cores": 8, "threads": 4, "memory_gib": 31.2, "host": HOST},
}


def curve(hit: float | None, end: float, final: float, target: float = 0.9, better: str = "higher") -> list[Any]:
    """(seconds, score) of ten evaluations; the target is first met at `hit` seconds, or never."""
    way = 1.0 if better == "higher" else -1.0
    times = sorted({*(end * i / 10 for i in range(1, 11)), *([hit] if hit else [])})
    seen = []
    for seconds in times:
        met = hit is not None and seconds >= hit
        seen.append((seconds, target + way * 0.01 if met else target - way * 0.3 * (1.05 - seconds / end)))
    return [*seen[:-1], (end, final)]


def write_run(
    ledger: Ledger, recipe: Recipe | dict[str, Any], seed: int, seen: Sequence[tuple[float, float]], **about: Any
) -> Run:
    """One run with these (seconds, score) evaluations.

    Args:
        ledger: where to.
        recipe: or its content, also with methods that nobody knows.
        seed: of it.
        seen: the evaluations.
        about: state, reason, group, events, workload, fingerprint, joules, end (whether to write an end record).
    """
    content = recipe if isinstance(recipe, dict) else recipe.to_dict()
    folder = ledger.new("run")
    end = seen[-1][0] if seen else 1.0
    standing = {"step": 10 * max(1, len(seen)), "seconds": end, "held": end * 1.1, "joules": about.get("joules")}
    standing["spans"] = {"data": 0.1 * end, "evaluation": 0.1 * end}
    with Writer(ledger.attempt(folder)) as log:
        log.record(
            "start", run=folder.name, step=0, seconds=0.0, device=about.get("device", "cpu"), seed=seed, recipe=content,
            workload=about.get("workload", WORKLOAD), group=about.get("group", ""), host=HOST,
            process={"pid": 1, "born": -1}, fingerprint=about.get("fingerprint", FINGERPRINT),
        )  # fmt: skip
        for i, (seconds, score) in enumerate(seen):
            for step in range(10 * i, 10 * i + 10):
                log.scalar("loss", 2.0 / (1 + step), step + 1)
            fields = {"step": 10 * (i + 1), "progress": (i + 1) / len(seen), "seconds": seconds}
            log.record("evaluation", **fields, score=score, loss=0.5)
        for text in about.get("events", ()):
            log.record("event", text=text)
        if about.get("end", True):
            log.end(about.get("state", "finished"), reason=about.get("reason", ""), **standing)
    return Run.load(folder)


def write_proof(
    ledger: Ledger,
    base: Sequence[float | None],
    fast: Sequence[float | None],
    *,
    planned: int | None = None,
    final: tuple[float, float] = (0.93, 0.932),
    ends: tuple[float, float] = (60.0, 25.0),
    recipes: tuple[Any, Any] = (BASE, FAST),
    failed: Sequence[int] = (),
    **about: Any,
) -> Proof:
    """A proof whose runs first met the target after these seconds (None: missed), seed by seed.

    Args:
        ledger: where to.
        base: of the base arm.
        fast: of the fast arm.
        planned: seeds that were planned; those of the longer arm if None.
        final: final scores of those that met the target.
        ends: seconds that the runs of either arm trained.
        recipes: of the two arms, or their content.
        failed: seeds whose fast run failed at once.
        about: as in `write_run`.
    """
    workload = {**WORKLOAD, **about.pop("workload", {})}
    folder = ledger.new("proof")
    contents = [r if isinstance(r, dict) else r.to_dict() for r in recipes]
    with Writer(ledger.attempt(folder)) as log:
        log.record(
            "start", proof=folder.name, workload=workload, base=contents[0], fast=contents[1], device="cpu",
            seeds=list(range(planned or max(len(base), len(fast)))), fingerprint=about.get("fingerprint", FINGERPRINT),
        )  # fmt: skip
    way = 1.0 if workload["better"] == "higher" else -1.0
    for name, hits, end, score, content in zip(("base", "fast"), (base, fast), ends, final, contents, strict=True):
        for seed, hit in enumerate(hits):
            last = score + 0.0007 * (seed % 3) if hit else workload["target"] - way * 0.01
            seen = curve(hit, end, last, workload["target"], workload["better"])
            lost = name == "fast" and seed in failed
            more = {"state": "failed", "reason": about.get("reason", "the loss is not a number")} if lost else {}
            more = {**about, **more, "workload": workload, "group": f"{folder.name}/{name}"}
            write_run(ledger, content, seed, [] if lost else seen, **more)
    return Proof.load(folder, ledger)


def tuned(ledger: Ledger, rates: Sequence[float] = (0.025, 0.05, 0.1, 0.2, 0.4)) -> None:
    """Runs of the base at several learning rates, the one in `BASE` the best."""
    for rate in rates:
        seconds = 20.0 + 10 * abs(rate - 0.1)
        write_run(ledger, BASE.plus(SGD(lr=rate)), 0, curve(seconds, 60.0, 0.93))


def write_search(ledger: Ledger, proof: str, **about: Any) -> list[str]:
    """A search that ended in a proof and left out two changes; the runs that its decisions rest on."""
    runs = [write_run(ledger, FAST, seed, curve(9.0, 20.0, 0.93)).id for seed in (7, 8, 9)]
    left = "leave one out"
    gain = {"ratio": 0.5, "low": 0.4, "high": 0.61, "n": 2, "score": -0.1, "pace": 1.0}
    decisions = [
        {"stage": "methods", "change": "+ OneCycle()", "verdict": "kept", "why": "2×", "gain": gain, "runs": runs[:1]},
        {"stage": left, "change": "without OneCycle", "verdict": "kept", "why": "2×", "gain": gain, "runs": runs[1:]},
        {"stage": left, "change": "without EMA", "verdict": "dropped", "why": "no file /home/ada/x", "gain": None,
         "runs": []},
    ]  # fmt: skip
    notes = ["the machine is now 1.3× slower", "in a first proof, p0, a run missed the target"]
    fields = {"id": "s1", "proof": proof, "before": "p0", "verdict": "faster", "seconds": 1800.0, "price": 3.0,
              "device_seconds": 1700.0, "pays_back": 7, "bars": [], "decisions": decisions, "notes": notes,
              "devices": 4, "settings": []}  # fmt: skip
    with Writer(ledger.root / "searches" / "s1" / "attempt-001.jsonl") as log:
        log.record("start")
        log.record("found", **{**fields, **about})
        log.end("finished")
    return runs
