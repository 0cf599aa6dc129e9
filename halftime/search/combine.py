"""Combine: methods one at a time, each at its own re-tuned rate; those that survive, together; pairs of losers."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from halftime.errors import BadRecipe
from halftime.recipe import Recipe
from halftime.search import gains
from halftime.search.candidates import Candidate, Queue, variants
from halftime.search.gains import Anchor
from halftime.search.records import Decision, Gain, Pace, Trial, Verdict
from halftime.search.retune import rate_of, retuned
from halftime.search.timing import pace
from halftime.search.work import Work, first

DOUBTED = 0.04  # standard error of the log of a pace above which it is timed again, for longer
LOSERS = 3  # of which pairs are tried


@dataclasses.dataclass(frozen=True)
class Judged:
    """What came of a candidate: its recipe at its own rate, and the trials at the anchor's steps."""

    candidate: Candidate
    recipe: Recipe
    decision: Decision
    trials: tuple[Trial, ...]

    @property
    def log(self) -> float | None:
        """The gain as a log of time, None where there is none."""
        return math.log(self.decision.gain.ratio) if self.decision.gain else None


def judge(work: Work, anchor: Anchor, candidate: Candidate) -> Judged:
    """Change, tune anew, measure, and say what became of it; the machine's speed is looked at on the way.

    Args:
        work: of the search.
        anchor: the incumbent.
        candidate: the change.
    """
    began = work.journal.spent
    recipe, timing, refused = _fitting(work, anchor, candidate)
    if refused:
        verdict: Verdict = "refused" if refused.startswith("refused") else "failed"
        return Judged(candidate, recipe, work.decide(Decision(work.stage, candidate.name, verdict, refused)), ())
    own = rate_of(anchor.recipe)
    recipe, tuning = retuned(work, recipe, None if candidate.fresh else own, anchor.steps)
    gain, trials, found = gains.race(work, anchor, recipe, timing)
    why = gains.words(gain) if gain else f"{first(trials)}"
    verdict = _verdict(found, gain, bool(first(trials)))
    after = rate_of(recipe)
    decision = Decision(
        work.stage, candidate.name, verdict, why + (f", rate {own:.3g} to {after:.3g}" if own and after else ""),
        {type(m).__name__: m.to_dict() for m in candidate.methods}, gain, (own, after),
        tuple(t.run for t in (*tuning, *trials) if t.run), round(work.journal.spent - began, 3), recipe.to_dict(),
    )  # fmt: skip
    return Judged(candidate, recipe, work.decide(decision), tuple(trials))


def _verdict(found: str, gain: Gain | None, broke: bool) -> Verdict:
    if broke or gain is None:
        return "failed"
    if found == "kept":
        return "kept"
    return "promising" if gain.ratio > 1.0 and found == "not clear" else "dropped"


def _fitting(work: Work, anchor: Anchor, candidate: Candidate) -> tuple[Recipe, Pace, str]:
    """The recipe with the change and its pace; without exact switches that do not go with it; or why there is none."""
    nothing = Pace(0.0, 0.0, 0.0, 1.0, 0, 0, 0.0, 0.0)
    try:
        whole = candidate.on(anchor.recipe)
    except BadRecipe as error:
        return anchor.recipe, nothing, f"refused: {error}"

    def look(recipe: Recipe, longer: int) -> dict[str, float]:
        return paced(work, anchor.recipe, recipe, longer)

    exact = [type(m).__name__ for m in whole.methods if m.exact and m not in candidate.methods]
    why = ""
    for without in ((), *((name,) for name in exact), tuple(exact)):
        recipe = whole.minus(*without)
        key = f"pace {work.stage} {anchor.recipe.hash} {recipe.hash}"
        found = Pace(**work.journal.once(key, lambda r=recipe: look(r, 1)))  # type: ignore[misc]
        if not found.why and found.error > DOUBTED:
            found = Pace(**work.journal.once(f"{key} again", lambda r=recipe: look(r, 2)))  # type: ignore[misc]
        if not found.why:
            return recipe, found, ""
        why = why or found.why
        if not found.why.startswith("refused") or not exact:
            break
    return whole, nothing, why


def paced(work: Work, one: Recipe, other: Recipe, longer: int = 1) -> dict[str, float]:
    """The pace of a recipe against another, for the journal."""
    work.view.trying(f"timing {other}", work.journal.spent, work.limit)
    return dataclasses.asdict(
        pace(work.workload, one, other, device=work.place.device, rounds=4 * longer, longer=longer, least=work.block)
    )


def one_at_a_time(work: Work, anchor: Anchor, queue: Queue) -> list[Judged]:
    """Try what is waiting, each on the incumbent alone, until time or candidates run out."""
    found = []
    while len(queue) and work.affords(anchor.steps, anchor.steps):
        candidate = queue.take()
        judged = judge(work, anchor, candidate)
        queue.told(candidate, judged.log)
        found.append(judged)
    if left := [type(one.methods[0]).__name__ for one in queue.waiting]:
        work.note(f"no time was left to try {', '.join(left)}")
    return found


Anew = Callable[[Anchor, Recipe, Sequence[Trial]], Anchor]  # of a new incumbent: the old one, its recipe and its trials


def together(work: Work, anchor: Anchor, survivors: Sequence[Judged], anew: Anew) -> tuple[Anchor, list[Judged]]:
    """Add what survived in the order of its gain, each tuned and measured again on top of those before it.

    Args:
        work: of the search.
        anchor: the incumbent on which they were tried.
        survivors: those that were kept one at a time.
        anew: gives the anchor of a new incumbent.

    Returns:
        The last anchor, and what was added.
    """
    added: list[Judged] = []
    for survivor in sorted(survivors, key=lambda s: -(s.log or 0.0)):
        judged = survivor
        if added:  # the first was measured on this very incumbent
            if not work.affords(anchor.steps, anchor.steps):
                break
            judged = judge(work, anchor, survivor.candidate)
        if judged.decision.verdict == "kept":
            anchor = anew(anchor, judged.recipe, judged.trials)
            added.append(judged)
    return anchor, added


def pairs(
    work: Work, anchor: Anchor, losers: Sequence[Judged], anew: Anew, changed: bool
) -> tuple[Anchor, list[Judged]]:
    """Losers on top of what won, and two losers together: what helps only in company is found here.

    Args:
        work: of the search.
        anchor: the incumbent.
        losers: of the first round.
        anew: as in `together`.
        changed: whether the incumbent is another one than that on which they lost.
    """
    able = sorted((one for one in losers if one.log is not None), key=lambda one: -(one.log or 0.0))[:LOSERS]
    offered = [one.candidate for one in able] if changed else []
    for one, other in itertools.combinations(able, 2):
        methods = (*one.candidate.methods, *other.candidate.methods)
        slots = [m.slot for m in methods if m.slot]
        if len({type(m) for m in methods}) == len(methods) and len(set(slots)) == len(slots):
            offered.append(Candidate(methods))
    added: list[Judged] = []
    for candidate in offered:
        if not work.affords(anchor.steps, anchor.steps):
            break
        if set(candidate.methods) & set(anchor.recipe.methods):
            continue
        judged = judge(work, anchor, candidate)
        if judged.decision.verdict == "kept":
            anchor = anew(anchor, judged.recipe, judged.trials)
            added.append(judged)
    return anchor, added


def refine(work: Work, anchor: Anchor, added: Sequence[Judged], anew: Anew) -> tuple[Anchor, list[Judged]]:
    """Other settings of what was added, as far as time goes."""
    here = {type(m): m for m in anchor.recipe.methods}
    kept = [here[type(m)] for one in added for m in one.candidate.methods if type(m) in here]
    queue = Queue(variants(anchor.recipe, kept))
    better: list[Judged] = []
    while len(queue) and work.affords(anchor.steps, anchor.steps):
        candidate = queue.take()
        if candidate.methods[0] in anchor.recipe.methods:
            continue
        judged = judge(work, anchor, candidate)
        queue.told(candidate, judged.log)
        if judged.decision.verdict == "kept":
            better.append(judged)
            anchor = anew(anchor, judged.recipe, judged.trials)
    return anchor, better
