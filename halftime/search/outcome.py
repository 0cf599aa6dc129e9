"""Outcome: the proof of what a search found, the waterfall, the cost and when it pays back, in records and in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger
from halftime.measure.proof import Proof
from halftime.measure.sequential import Design
from halftime.recipe import Recipe
from halftime.run import attempt_files
from halftime.search.journal import records
from halftime.search.length import CHECKS, Short
from halftime.search.prove import prove
from halftime.search.records import Bar, Decision, Found
from halftime.search.retune import added, rate_of
from halftime.search.start import FEWEST_PAIRS, Start
from halftime.search.work import Work

SEEDS = 50_000  # where the seeds of the proof begin: nothing in the search was chosen by them
MOST = 36  # pairs
WORTH = 1.03  # a gain that is thought to be smaller is not worth a proof


def concluded(work: Work, began: Start, recipe: Recipe, proof: bool = True) -> Found:
    """Prove what was found, if it is likely to be a gain at all.

    Args:
        work: of the search.
        began: the base.
        recipe: what was found.
        proof: whether a proof is wanted.
    """
    likely = began.hit / max(_seconds(work, recipe), 1e-9)
    work.view.say(f"  best: {recipe}: likely {likely:.2f}× as fast to the target as the base")
    if likely < WORTH:
        text = f"nothing found: the best recipe is likely {likely:.2f}× as fast as the base, too little to prove"
        return ended(work, began, "nothing found", text)
    work.journal.log.record("chosen", rate=rate_of(recipe), rates=_rates(work), why="re-tuned after each change",
                            recipe=recipe.to_dict(), recipe_hash=recipe.hash)  # fmt: skip
    bars = waterfall(work.decisions, began.base, recipe, likely)
    if not proof:
        found = ended(work, began, "not shown", f"likely {likely:.2f}× as fast, but no proof was asked for", recipe)
        return dataclasses.replace(found, bars=bars)
    work.stage = "proof"
    work.view.trying("proof on fresh seeds", work.journal.spent, work.limit)
    made = work.journal.once("proof", lambda: _proved(work, began, recipe))
    return _with_proof(work, began, recipe, made)


def _proved(work: Work, began: Start, recipe: Recipe) -> dict[str, Any]:
    """Run the proof, or take the one that a killed attempt had ended."""
    place, pair = work.place, max(began.held * 1.5, 1e-3)
    most = min(MOST, max(FEWEST_PAIRS, int((work.limit - work.journal.spent) / pair)))
    most = int(work.journal.once("most pairs", lambda: most))
    found = _finished(place.ledger, began.base, recipe) or prove(
        place.workload, began.base, recipe, sequential=Design(most=most), first=SEEDS, device=place.device,
        ledger=place.ledger, quiet=True, source=place.source,
    )  # fmt: skip
    ratio = found.ratio
    times = [arm.typical for arm in (found.base, found.fast)]
    return {
        "id": found.id,
        "verdict": found.verdict,
        "words": found.words,
        "ratio": ratio and [ratio.estimate, ratio.low, None if ratio.high == math.inf else ratio.high],
        "device_seconds": found.base.seconds + found.fast.seconds,
        "times": times,
        "bound": began.hit,
    }


def _finished(ledger: Ledger, base: Recipe, fast: Recipe) -> Proof | None:
    """A proof of the same recipes on the seeds of a search that has ended."""
    for folder in reversed(ledger.proofs):
        lines = records(folder) if attempt_files(folder) else []
        arms = lines and (lines[0].get("base"), lines[0].get("fast"), (lines[0].get("seeds") or [0])[0])
        if arms == (base.to_dict(), fast.to_dict(), SEEDS) and any(line["kind"] == "judged" for line in lines):
            return Proof.load(folder, ledger)
    return None


def _with_proof(work: Work, began: Start, recipe: Recipe, made: dict[str, Any]) -> Found:
    stands = made["verdict"] in ("proved", "provisional")
    ratio = made["ratio"] and (made["ratio"][0], made["ratio"][1], made["ratio"][2])
    slow, quick = made["times"]
    saved = (slow or made["bound"]) - (quick or math.inf)
    seconds = work.journal.spent
    back = math.ceil(seconds / saved) if stands and saved > 0 else None
    if stands:
        words = f"{made['words']}; the search took {seconds / 60:.1f} minutes and pays back after {back} trainings"
    else:
        words = f"nothing found: the best recipe did not stand its proof: {made['words']}"
    found = ended(work, began, "faster" if stands else "not shown", words, recipe if stands else None)
    held = math.fsum(t.held for t in work.trials) + made["device_seconds"]
    bars = waterfall(work.decisions, began.base, recipe, ratio[0], ratio[1], ratio[2]) if ratio and stands else ()
    return dataclasses.replace(
        found, proof=made["id"], proved=made["words"], ratio=ratio, bars=bars, pays_back=back, device_seconds=held
    )


def ended(work: Work, began: Start, verdict: str, words: str, recipe: Recipe | None = None) -> Found:
    """The outcome without a proof."""
    return Found(
        id=work.place.search, verdict=verdict, words=words,
        workload=identity(work.workload, began.base, 0, work.place.source)["workload"],
        base=began.base.to_dict(), recipe=(recipe or began.base).to_dict(), decisions=tuple(work.decisions),
        notes=tuple(work.notes), seconds=round(work.journal.spent, 3),
        device_seconds=round(math.fsum(t.held for t in work.trials), 3),
    )  # fmt: skip


def unreached(work: Work, began: Start, short: Short) -> Found:
    """Nothing met the target on every seed: how far the best got, and what it would likely need."""
    best = work.workload.signed(short.best)  # back to the score as it is written
    if began.reached:
        text = f"nothing found: no shorter recipe reached the goal on all of {CHECKS} seeds; {short.why}"
        return ended(work, began, "nothing found", text)
    got = f"the best ended at {best:.4g}" if math.isfinite(best) else "no training of it was begun"
    text = f"out of reach: the target {work.workload.target:g} was not met on {CHECKS} seeds, {got}; {short.why} steps"
    return ended(work, began, "out of reach", text)


def waterfall(
    decisions: Sequence[Decision],
    base: Recipe,
    recipe: Recipe,
    whole: float,
    low: float = 0.0,
    high: float | None = None,
) -> tuple[Bar, ...]:
    """The changes that are in the recipe, with what each gained when it was kept; the rest is the length.

    Args:
        decisions: of the search.
        base: its base.
        recipe: what was found.
        whole: how many times sooner the recipe is, in all.
        low: lower end of its interval.
        high: upper end.
    """
    bars: list[Bar] = []
    here = added(recipe, base)
    for one in decisions:
        mine = one.methods and all(name in here for name in one.methods)
        sized = one.change.startswith("batch size") and one.recipe.get("batch_size") == recipe.batch_size
        again = {bar.change.lstrip("+ ").partition("(")[0] for bar in bars} & set(one.methods)
        if one.verdict == "kept" and one.gain and one.stage != "leave one out" and (mine or sized) and not again:
            bars.append(Bar(one.change, one.gain.ratio, one.gain.low, one.gain.high))
    rest = whole / math.prod(bar.ratio for bar in bars)
    ends = (rest * (low or whole) / whole, rest * (high or whole) / whole)
    return (*bars, Bar(f"length: {recipe.budget}, rate {rate_of(recipe) or 0:g}", rest, *ends))


def plain(content: Any) -> Any:
    """What JSON can hold: no infinite numbers."""
    if isinstance(content, dict):
        return {name: plain(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _seconds(work: Work, recipe: Recipe) -> float:
    """Seconds of training to the target, of the runs that checked the recipe."""
    mine = [t.hit for t in work.trials if t.recipe == recipe.hash and t.hit is not None]
    return sorted(mine)[len(mine) // 2] if mine else math.inf


def _rates(work: Work) -> int:
    """Different rates that were tried after changes."""
    return len({one.rate[1] for one in work.decisions if one.rate[1]})
