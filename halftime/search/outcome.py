"""Outcome: the proof of what a search found, the waterfall, the cost and when it pays back, in records and in words."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halftime.ledger.resume import identity
from halftime.measure.proof import Proof
from halftime.measure.sequential import ALPHA, FEW, QUALITY, Design, quickest
from halftime.recipe import Recipe
from halftime.run import attempt_files
from halftime.search.journal import records
from halftime.search.leap import GUESS
from halftime.search.length import CHECKS, Short
from halftime.search.prove import prove
from halftime.search.records import Bar, Decision, Found, Trial
from halftime.search.retune import added, of_length, rate_of, unrated
from halftime.search.start import FEWEST_PAIRS, Start
from halftime.search.work import Work

SEEDS = 50_000  # where the seeds of the proof begin: nothing in the search was chosen by them
APART = 1000  # between the seeds of a first proof and those of a second one
MOST = 36  # pairs
EFFECTS = (1.0, 1.5, 2.0, 3.0)  # standard deviations between pairs; few pairs can show large ones only
CAUTIOUS = 0.7  # of the effects that are expected
MENDED = 1.3  # a recipe that missed the target in a proof is made so many times longer, and proved again, once
STANDS = ("proved", "provisional")
FARTHEST = 7.0  # a target that would need e to this power times the steps is not put into a number
WORTH = 1.03  # a gain that is thought to be smaller is not worth a proof


def concluded(work: Work, began: Start, recipe: Recipe, proof: bool = True) -> Found:
    """Prove what was found, if it is likely to be a gain at all.

    Args:
        work: of the search.
        began: the base.
        recipe: what was found.
        proof: whether a proof is wanted.
    """
    times = likely(work, began, recipe)
    work.view.say(f"  best: {recipe}: likely {times:.2f}× as fast to the target as the base")
    if times < WORTH:
        text = f"nothing found: the best recipe is likely {times:.2f}× as fast as the base, too little to prove"
        return ended(work, began, "nothing found", text)
    _chosen(work, recipe)
    bars = waterfall(work.decisions, began.base, recipe, times)
    if not proof:
        found = ended(work, began, "not shown", f"likely {times:.2f}× as fast, but no proof was asked for", recipe)
        return dataclasses.replace(found, bars=bars)
    work.stage = "proof"
    work.view.trying("proof on fresh seeds", work.journal.spent, work.limit)
    made = work.journal.once("proof", lambda: _proved(work, began, recipe, 0), _earlier)
    room = work.limit - work.journal.spent > FEWEST_PAIRS * made["pair"]
    if made["verdict"] not in STANDS and made["missed"] and recipe.steps and room:
        recipe = of_length(recipe, math.ceil(recipe.steps * MENDED))
        work.note(
            f"in a first proof, {made['id']}, a run missed the target: the recipe was made longer and proved on other "
            "seeds; the error rate of both proofs together is that of one"
        )
        _chosen(work, recipe)
        again = work.journal.once("second proof", lambda: _proved(work, began, recipe, 1), _earlier)
        made = {**again, "device_seconds": made["device_seconds"] + again["device_seconds"], "before": made["id"]}
    return _with_proof(work, began, recipe, made)


def _chosen(work: Work, recipe: Recipe) -> None:
    """Write down that a recipe was tuned, which a proof asks for."""
    rates = work.rated.get(unrated(recipe), 0)
    work.journal.log.record("chosen", rate=rate_of(recipe), rates=rates, why="re-tuned after each change",
                            recipe=recipe.to_dict(), recipe_hash=recipe.hash)  # fmt: skip


def _proved(work: Work, began: Start, recipe: Recipe, k: int) -> dict[str, Any]:
    """Run a proof, or take the one that a killed attempt had ended; `k` is 0 for the first, 1 for the second."""
    place, pair = work.place, max(began.held + _held(work, recipe), 1e-3)
    most = min(MOST, max(FEWEST_PAIRS, int((work.limit - work.journal.spent) / pair)))
    hoped = expected(work, began, recipe)
    plan = Design(**work.journal.once(f"design {k}", lambda: designed(most, *hoped).to_dict()))
    first = SEEDS + k * APART
    found = _finished(work, began.base, recipe, first) or prove(
        place.workload, began.base, recipe, sequential=plan, first=first,
        device=place.device, ledger=place.ledger, quiet=True, source=place.source,
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
        "missed": any(run.hit is None for run in found.fast.runs),
        "pair": found.pair_seconds,
        "earlier": work.earlier(*(run.id for arm in (found.base, found.fast) for run in arm.runs)),
    }


def _earlier(made: dict[str, Any]) -> float:
    """Seconds of a proof that attempts which were killed had spent on it."""
    return float(made.get("earlier", 0.0))


def designed(most: int, time: float = 0.0, score: float = 0.0) -> Design:
    """The design of a proof of so many pairs at most: the effects that would show soonest what is expected.

    Args:
        most: pairs.
        time: the gain in time, in standard deviations between pairs. Where that is not known, or too small to show,
            the smallest effect is taken that so many pairs can show, with a pair to spare.
        score: by how much the final score lies above what no longer counts as the same, likewise.

    Example:
        >>> designed(36).effect, designed(5).effect, designed(36, time=9.0).effect
        (1.0, 2.0, 2.0)
    """
    alpha = ALPHA / 2
    effect, quality = quickest(time, FEWEST_PAIRS, most, alpha), quickest(score, FEWEST_PAIRS, most, 2 * alpha)
    told: tuple[float, ...] = () if quality is None else (quality,)
    told = (*told * len(QUALITY), *QUALITY) if told and most > FEW else told  # many pairs may find it smaller than that
    effects = EFFECTS if effect is None else (effect,)
    designs = [Design(one, most=most, alpha=alpha, quality=told) for one in effects]
    return next((one for one in designs if one.soonest is not None and one.soonest < most), designs[-1])


def expected(work: Work, began: Start, recipe: Recipe) -> tuple[float, float]:
    """What a proof will likely find, in standard deviations between pairs: (gain in time, score above the margin).

    It is a part of what the runs of the search say, for so few of them hardly know how much seeds differ.
    """
    both = [t for t in began.trials if t.ended], _checks(work, recipe)
    if min(map(len, both)) < 2:
        return 0.0, 0.0
    logs = [[math.log(t.hit or t.seconds) for t in arm] for arm in both]
    scores = [[work.signed(t) for t in arm] for arm in both]
    (slow, quick), (low, high) = (list(map(statistics.fmean, one)) for one in (logs, scores))
    apart, unlike = (math.hypot(*map(statistics.stdev, one)) for one in (logs, scores))
    tolerance = work.workload.tolerance
    return (
        CAUTIOUS * (slow - quick) / max(apart, GUESS / 2),
        CAUTIOUS * (high - low + tolerance) / max(unlike, tolerance / 4),
    )


def _finished(work: Work, base: Recipe, fast: Recipe, first: int) -> Proof | None:
    """The proof that an earlier attempt of this search had ended, if there is one."""
    ledger = work.place.ledger
    about = identity(work.workload, base, 0, work.place.source)["workload"]
    for folder in reversed(ledger.proofs):
        lines = records(folder) if attempt_files(folder) else []
        if not lines or lines[0]["t"] < work.journal.began:
            continue
        asked = tuple(lines[0].get(key) for key in ("workload", "base", "fast")), (lines[0].get("seeds") or [0])[0]
        if asked == ((about, base.to_dict(), fast.to_dict()), first) and lines[-1]["kind"] == "end":
            return Proof.load(folder, ledger) if any(line["kind"] == "judged" for line in lines) else None
    return None


def _with_proof(work: Work, began: Start, recipe: Recipe, made: dict[str, Any]) -> Found:
    stands = made["verdict"] in STANDS
    ratio = made["ratio"] and (made["ratio"][0], made["ratio"][1], made["ratio"][2])
    slow, quick = made["times"]
    saved = (slow or made["bound"]) - (quick or math.inf)
    seconds, devices = work.journal.spent, work.view.devices
    back = math.ceil(seconds * devices / saved) if stands and saved > 0 else None
    same = f", both with {' and '.join(work.settings)}" if work.settings else ""
    if stands:
        words = f"{made['words']}{same}; the search took {seconds / 60:.1f} minutes"
        words += f" of {devices} devices" if devices > 1 else ""
        words += f" and pays back after {back} trainings" if back else ", which no training is known to save"
    else:
        words = f"nothing found: the best recipe did not stand its proof: {made['words']}{same}"
    found = ended(work, began, "faster" if stands else "not shown", words, recipe if stands else None)
    held = math.fsum(t.held for t in work.trials) + made["device_seconds"]
    bars = waterfall(work.decisions, began.base, recipe, ratio[0], ratio[1], ratio[2]) if ratio and stands else ()
    return dataclasses.replace(
        found, proof=made["id"], proved=made["words"], ratio=ratio, bars=bars, pays_back=back, device_seconds=held,
        before=made.get("before", ""),
    )  # fmt: skip


def ended(work: Work, began: Start, verdict: str, words: str, recipe: Recipe | None = None) -> Found:
    """The outcome without a proof."""
    return Found(
        id=work.place.search, verdict=verdict, words=words,
        workload=identity(work.workload, began.base, 0, work.place.source)["workload"],
        base=began.base.to_dict(), recipe=(recipe or began.base).to_dict(), decisions=tuple(work.decisions),
        notes=tuple(work.notes), settings=tuple(work.settings), seconds=round(work.journal.spent, 3),
        device_seconds=round(math.fsum(t.held for t in work.trials), 3),
    )  # fmt: skip


def paid(folder: Path, price: float | None, held: int) -> tuple[float | None, int]:
    """What an hour of a device costs and how many of them are held; a search that goes on knows both from before.

    Args:
        folder: of the search.
        price: given with this attempt.
        held: devices of this attempt; where another one held more these count, so that nothing is made too cheap.
    """
    before = [line for line in records(folder) if line["kind"] == "start"]
    told = [line["price"] for line in before if line.get("price") is not None]
    return told[-1] if price is None and told else price, max([held, *(line.get("devices", 1) for line in before)])


def so_far(work: Work) -> str:
    """How far the best training got and what the target would likely need, after a sentence; nothing if none ended."""
    told = [entry["value"] for key, entry in work.journal.known.items() if key.startswith("trial ")]
    ended = [trial for trial in (Trial(**one) for one in told) if trial.ended and trial.steps]
    if not ended:
        return ""
    best, target = max(ended, key=work.signed), work.workload.target or 0.0
    text = f"; the best so far ended at {best.score:.4g} after {best.steps} steps, the target {target:g}"
    gap = work.workload.signed(target) - work.signed(best)
    if best.hit is not None or gap <= 0:
        return f"{text} is met"
    short = max((t for t in ended if 1.5 * t.steps <= best.steps), key=work.signed, default=best)
    rise = (work.signed(best) - work.signed(short)) / math.log(best.steps / short.steps) if short != best else 0.0
    if gap >= FARTHEST * rise:  # it hardly rises, or nothing shorter was trained
        return f"{text} is far off"
    return f"{text} would likely take {float(f'{best.steps * math.exp(gap / rise):.2g}'):.0f}"


def unreached(work: Work, began: Start, short: Short) -> Found:
    """Nothing met the target on every seed: how far the best got, and what it would likely need."""
    best = work.workload.signed(short.best)  # back to the score as it is written
    if began.reached:
        text = f"nothing found: no shorter recipe reached the goal on all of {CHECKS} seeds; {short.why}"
        return ended(work, began, "nothing found", text)
    got = f"the best ended at {best:.4g}" if math.isfinite(best) else "no training of it was begun"
    text = f"out of reach: the target {work.workload.target:g} was not met on {CHECKS} seeds, {got}; {short.why}"
    return ended(work, began, "out of reach", text)


def waterfall(
    decisions: Sequence[Decision],
    base: Recipe,
    recipe: Recipe,
    whole: float,
    low: float = 0.0,
    high: float | None = None,
) -> tuple[Bar, ...]:
    """The changes that are in the recipe, with what each gained when it was kept; what remains is the length's.

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
        stands = one.verdict == "kept" if one.stage != "opening" else one.verdict in ("kept", "promising")
        stands = stands and one.stage != "leave one out"
        if stands and one.gain and (mine or sized) and not again:
            bars.append(Bar(one.change, one.gain.ratio, one.gain.low, one.gain.high))
    rest = whole / math.prod(bar.ratio for bar in bars)
    open_ = low > 0 and high is None  # of an interval that has no upper end
    ends = (rest * (low or whole) / whole, None if open_ else rest * (high or whole) / whole)
    return (*bars, Bar(f"the rest: {recipe.budget}, rate {rate_of(recipe) or 0:g}", rest, *ends, rest=True))


def _checks(work: Work, recipe: Recipe) -> list[Trial]:
    """The trials of a recipe that tell when it meets the target; all where none does."""
    mine = [t for t in work.trials if t.recipe == recipe.hash and t.ended]
    return [t for t in mine if t.judged] or mine


def _seconds(work: Work, recipe: Recipe) -> float:
    """Seconds of training to the target, of the runs that checked the recipe."""
    mine = [t.hit for t in _checks(work, recipe) if t.hit is not None]
    return sorted(mine)[len(mine) // 2] if mine else (recipe.steps or math.inf) * work.step_of(recipe)


def likely(work: Work, began: Start, recipe: Recipe) -> float:
    """How many times sooner a recipe meets the target than the base, by the runs that checked it."""
    return began.hit / max(_seconds(work, recipe), 1e-9)


def _held(work: Work, recipe: Recipe) -> float:
    """Seconds for which such a run held the device."""
    mine = [t.held for t in work.trials if t.recipe == recipe.hash]
    return max(mine, default=0.0)
