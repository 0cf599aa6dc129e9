"""Receipt: what a proof showed, what it cost, and which records say so, in one document that can be worked out again.

Everything in it follows from the records that stand under `source`, each with the SHA-256 of its file. So whoever has
the ledger can make the receipt again and compare: an edited record, or an edited number, is named.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from halftime.errors import BadData, BadValue, shorten
from halftime.ledger.lines import Record, Writer, nulled, read
from halftime.ledger.store import Ledger, load_all
from halftime.measure.ablation import Ablation, ablation_of
from halftime.measure.ablation_runs import finite
from halftime.measure.judge import Arm
from halftime.measure.proof import Proof
from halftime.measure.statistics import median, speedup
from halftime.measure.tuned import tune_choices, tuning
from halftime.run import Run, attempt_files

FORMAT = 3  # 2: what a search left out, verdicts of an ablation; 3: wider ends of drawn shares, no paths
MACHINE = ("system", "cpu", "cores", "threads", "memory_gib", "gpu", "gpu_memory_gib", "cuda")  # nothing else is shown
Content = dict[str, Any]


def receipt(proof: Proof, ledger: Ledger, price: float | None = None) -> Content:
    """The receipt of a proof, with the newest ablation of its fast recipe and the search that it ended, if any.

    Args:
        proof: as loaded; complete.
        ledger: where its records are.
        price: money for an hour of the device; that of the search if None.

    Returns:
        What JSON can hold. It names no host, no user and no absolute path.

    Raises:
        BadData: the proof is not complete, or a record of it was edited. BadValue: a price that cannot be.
    """
    if price is not None and not 0 <= price < math.inf:
        raise BadValue(f"price must be 0 or more for an hour, not {shorten(price)}")
    if not proof.complete:
        raise BadData(f"proof {proof.id} is not complete: run the same `halftime prove` again, and it goes on")
    search = search_of(proof.id, ledger)
    ablation = ablation_of(proof.fast.recipe, proof.workload, ledger, proof.device, proof.fingerprint)
    runs = (*proof.base.runs, *proof.fast.runs, *(ablation.runs if ablation else ()))
    edited = [run.id for run in runs if run.intact is False]
    if edited:
        raise BadData(f"run {edited[0]} was changed after it was written: there is no receipt for that")
    return made_from(proof, ablation, search, ledger, round(time.time(), 3), price)


def made_from(
    proof: Proof, ablation: Ablation | None, search: Content | None, ledger: Ledger, made: float, price: float | None
) -> Content:
    """The receipt of these records, as of a moment.

    Args:
        proof: what it is about.
        ablation: of its fast recipe.
        search: see `search_of`.
        ledger: where the records are.
        made: seconds since 1970; what the ledger learned later is left out.
        price: money for an hour of the device.
    """
    price = search["price"] if price is None and search else price
    if search:
        search = {**search, "money": None if price is None else price * search["devices"] * search["seconds"] / 3600}
    runs = load_all(ledger)
    choices = [c for c in tune_choices(ledger) if c["t"] <= made]
    content = _claim(proof) | {
        "before": _arm(proof.base, proof, price), "after": _arm(proof.fast, proof, price),
        "cost": _cost(proof, price), "price_per_hour": price, "search": search,
        "ablation": None if ablation is None else _taken_apart(ablation),
        **_machine(proof), "context": _context(proof, runs, ledger, made),
        "source": _source(proof, ablation, search, ledger),
    }  # fmt: skip
    for side, arm in (("before", proof.base), ("after", proof.fast)):
        chosen = tuning(arm.recipe, proof.workload, [run for run in runs if run.started <= made], choices)
        content[side] |= {"tuned": chosen.tuned, "tuning": str(chosen)}
    content = json.loads(json.dumps({"receipt": FORMAT, "made": made, **nulled(content)}))
    return {**content, "digest": digest(content)}


def _claim(proof: Proof) -> Content:
    """What the proof says."""
    workload = {k: v for k, v in proof.workload.items() if k != "source"}
    return {
        "proof": proof.id,
        "verdict": proof.verdict,
        "words": proof.words,
        "workload": {**workload, "source": Path(str(proof.workload.get("source") or "")).name},
        "device": proof.device,
        "seeds": list(proof.seeds),
        "ratio": proof.ratio and finite(proof.ratio),
        "interval": proof.interval,
        "least": proof.least,
        "quality": proof.quality and finite(proof.quality),
        "margin": proof.margin,
        "same_quality": proof.same_quality,
        "sequential": proof.design and {**proof.design.to_dict(), "settled": proof.settled},
    }


def _taken_apart(ablation: Ablation) -> Content:
    """An ablation without absolute paths: where its workload lay, and the reasons of crashes, may have them."""
    content = ablation.to_dict()
    content["workload"] = {**content["workload"], "source": Path(str(content["workload"].get("source") or "")).name}
    content["refused"] = {name: _placeless(why) for name, why in content["refused"].items()}
    for part in content["parts"]:
        for effect in (part["alone"], part["without"], part["share"]):
            effect["why"] = _placeless(effect["why"])
    content["interaction"]["why"] = _placeless(content["interaction"]["why"])
    return content


def _arm(arm: Arm, proof: Proof, price: float | None) -> Content:
    """One side: medians and minima, and what one training costs."""
    scores = [run.score for run in arm.runs if run.score is not None and math.isfinite(run.score)]
    best = max if proof.workload["better"] == "higher" else min
    joules = [run.joules for run in arm.runs if run.joules is not None]
    return {
        "recipe": arm.recipe.to_dict(),
        "recipe_hash": arm.recipe.hash,
        "recipe_words": str(arm.recipe),
        "runs": [run.id for run in arm.runs],
        "n": len(arm.runs),
        "reached": len(arm.hits),
        "seconds_to_target": {"median": arm.typical, "minimum": min(arm.hits, default=None),
                              "each": [run.hit and run.hit[1] for run in arm.runs]},
        "noise": arm.noise,
        "score": {"median": median(scores) if scores else None, "best": best(scores) if scores else None,
                  "each": [run.score for run in arm.runs]},
        "training_seconds": _both([run.seconds for run in arm.runs]),
        "device_seconds": _both([run.device_seconds for run in arm.runs]),
        "joules": _both(joules),
        "money": None if price is None else _both([run.device_seconds / 3600 * price for run in arm.runs]),
    }  # fmt: skip


def _both(values: Sequence[float]) -> dict[str, float] | None:
    """Median and minimum."""
    return {"median": median(values), "minimum": min(values)} if values else None


def _cost(proof: Proof, price: float | None) -> Content:
    """What the proof cost, and how a whole training of both sides compares in device time."""
    runs = [*proof.base.runs, *proof.fast.runs]
    slow, quick = ({run.seed: run.device_seconds for run in arm.runs} for arm in (proof.base, proof.fast))
    pairs = [(slow[s], slow[s], quick[s], quick[s]) for s in slow if quick.get(s, 0.0) > 0 < slow[s]]
    seconds = sum(run.device_seconds for run in runs)
    joules = [run.joules for run in runs if run.joules is not None]
    return {
        "runs": len(runs),
        "device_seconds": seconds,
        "joules": sum(joules) if joules else None,
        "money": None if price is None else seconds / 3600 * price,
        "device_time_ratio": finite(speedup(pairs)) if pairs else None,
    }


def _machine(proof: Proof) -> Content:
    machine = proof.fingerprint.get("machine", {})
    return {
        "machine": {key: machine[key] for key in MACHINE if machine.get(key) is not None},
        "packages": dict(proof.fingerprint.get("packages", {})),
        "code": dict(proof.fingerprint.get("code", {})),
    }


def _context(proof: Proof, runs: Iterable[Run], ledger: Ledger, made: float) -> Content:
    """What an expert would ask about, as far as the ledger knows."""
    mine = [*proof.base.runs, *proof.fast.runs]
    machines = {json.dumps([r.device, r.fingerprint.get("machine", {})], sort_keys=True, default=str) for r in mine}
    codes = {json.dumps(r.fingerprint.get("code", {}), sort_keys=True, default=str) for r in mine}
    before = [r for r in runs if r.started < proof.started and r.workload["data"] == proof.workload["data"]]
    return {
        "machines": len(machines),
        "codes": len(codes),
        "first_look_hits": sum(run.hit is not None and run.hit[0] == 0 for run in mine),
        "resumed": sum(run.attempts > 1 for run in mine),
        "runs_before": len(before),
        "runs_before_on_its_seeds": sum(run.seed in proof.seeds for run in before),
        "elsewhere": _elsewhere(proof, ledger, made),
    }


def _elsewhere(proof: Proof, ledger: Ledger, made: float) -> list[Content]:
    """Verdicts of proofs of the same methods on other data."""
    names, found = {type(m).__name__ for m in proof.fast.recipe.methods}, []
    for folder in ledger.proofs:
        records = [record for path in attempt_files(folder) for record in read(path)[0]]
        if not records:  # it was killed, or the disk was full, before its first line
            continue
        start, judged = records[0], [r for r in records if r["kind"] == "judged" and r["t"] <= made]
        other = (
            judged and start["workload"]["data"] != proof.workload["data"] and set(start["fast"]["methods"]) == names
        )
        if other:
            found.append(
                {"proof": folder.name, "workload": start["workload"]["name"], "verdict": judged[-1]["verdict"]}
            )
    return found


def search_of(proof: str, ledger: Ledger) -> Content | None:
    """The search that ended in a proof, in short: what it cost, when it pays back, and what it saw on its way.

    Beside that stand its notes, the ids of its proofs, the runs that its decisions rest on, and what it found when it
    left out one change after the other, so that nobody has to take the recipe apart again to know.
    """
    for folder in reversed(ledger.searches):
        records: list[Record] = [record for path in attempt_files(folder) for record in read(path)[0]]
        found = next((r for r in reversed(records) if r["kind"] == "found" and r.get("proof") == proof), None)
        if found:
            names = ("id", "verdict", "seconds", "device_seconds", "price", "pays_back", "bars", "settings")
            decisions = found.get("decisions") or ()
            return {
                **{name: found.get(name) for name in names},
                "tried": len(decisions),
                "devices": found.get("devices") or 1,
                "proofs": [one for one in (found.get("before"), proof) if one],
                "notes": [_placeless(text) for text in found.get("notes") or ()],
                "left_out": [_left_out(one) for one in decisions if one.get("stage") == "leave one out"],
                "runs": list(dict.fromkeys(run for one in decisions for run in one.get("runs") or ())),
            }
    return None


def _left_out(decision: Content) -> Content:
    """What leaving out a change showed: how many times as soon the target is met without it."""
    gain = decision.get("gain") or {}
    told = {name: decision[name] for name in ("change", "verdict", "runs")} | {"why": _placeless(decision["why"])}
    return told | {name: gain.get(name) for name in ("ratio", "low", "high", "n")}


def _placeless(text: str) -> str:
    """A text without absolute paths: the reason of a crash may have them."""
    return re.sub(r"(?<![\w.])(?:~|[A-Za-z]:)?[\\/][^\s'\"]+", "…", text)


def _source(proof: Proof, ablation: Ablation | None, search: Content | None, ledger: Ledger) -> Content:
    """Every record that the receipt follows from: the SHA-256 of each of its files."""
    runs = {run.id: run for run in (*proof.base.runs, *proof.fast.runs, *(ablation.runs if ablation else ()))}
    found: Content = {"runs": {name: sums(run.folder) for name, run in runs.items()}, "proof": sums(proof.folder)}
    if ablation is not None:
        found["ablation"] = sums(ablation.folder)
    if search is not None:
        found["search"] = sums(ledger.root / "searches" / search["id"])
    return found


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a record, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in attempt_files(folder)}


def digest(content: Content) -> str:
    """The SHA-256 of a receipt, its own digest left out."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def keep(content: Content, ledger: Ledger) -> None:
    """Write a receipt that is given out into the ledger, so that verifying the ledger verifies it, too."""
    with Writer(ledger.attempt(ledger.new("receipt"))) as log:
        log.record("receipt", durable=True, content=content)
        log.end("finished")
