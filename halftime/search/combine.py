"""Combine: methods one at a time, each at its own re-tuned rate and on top of those that were kept; pairs of losers.

A change that is kept is the incumbent at once: what comes after is measured in its company, and trains as short as it
allows. Its place is asked for again at the end, when each is left out in turn.
"""

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
from halftime.search.phases import changed
from halftime.search.records import Decision, Gain, Pace, Trial, Verdict
from halftime.search.retune import rate_of, retuned
from halftime.search.timing import pace
from halftime.search.work import Work, first

ROUNDS = 4  # blocks of each recipe
LOSERS = 3  # of which pairs are tried
FAR, TWICE = 4.0, 10_200  # factor by which a rate moves far, which luck does as well; the seed of both trainings then
HOPELESS = 1 / 3  # of the incumbent's pace: a change that is slower still has never paid


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
    recipe, timing, refused = fitting(work, anchor, candidate)
    if refused:
        verdict: Verdict = "refused" if refused.startswith("refused") else "failed"
        return Judged(candidate, recipe, work.decide(Decision(work.stage, candidate.name, verdict, refused)), ())
    if slow := _too_slow(work, anchor, timing):
        return Judged(candidate, recipe, work.decide(Decision(work.stage, candidate.name, "dropped", slow)), ())
    own = rate_of(anchor.recipe)
    recipe, tuning = retuned(work, recipe, None if candidate.fresh else own, anchor.steps)
    if own and not candidate.fresh:
        recipe, more = _asked_twice(work, recipe, own)
        tuning += more

    def longer() -> Pace:
        key = f"pace {work.stage} {anchor.recipe.hash} {recipe.hash} longer"
        return Pace(**work.journal.once(key, lambda: paced(work, anchor.recipe, recipe, 2)))

    gain, trials, found = gains.race(work, anchor, recipe, timing, longer=longer)
    why = gains.words(gain) if gain else f"{first(trials)}"
    verdict = _verdict(found, gain, bool(first(trials)))
    after = rate_of(recipe)
    decision = Decision(
        work.stage, candidate.name, verdict, why + (f", rate {own:.3g} to {after:.3g}" if own and after else ""),
        {type(m).__name__: m.to_dict() for m in candidate.methods}, gain, (own, after),
        tuple(t.run for t in (*tuning, *trials) if t.run), round(work.journal.spent - began, 3), recipe.to_dict(),
    )  # fmt: skip
    return Judged(candidate, recipe, work.decide(decision), tuple(trials))


def _asked_twice(work: Work, recipe: Recipe, own: float) -> tuple[Recipe, list[Trial]]:
    """A recipe whose rate moved far by short trainings, at the better of that rate and the incumbent's in full."""
    stayed = changed(recipe, lr=own)
    if 1 / FAR < (rate_of(recipe) or own) / own < FAR or not work.affords(*[recipe.steps or 0] * 2):
        return recipe, []
    both = work.together([(one, TWICE) for one in (recipe, stayed)])
    moved, still = (work.signed(t) if t.ended else -math.inf for t in both)
    return (stayed if still > moved else recipe), both


def _too_slow(work: Work, anchor: Anchor, timing: Pace) -> str:
    """Why a change whose steps take so long is not trained, nothing where it may be."""
    longer = 1 / timing.ratio
    if timing.ratio < HOPELESS:
        return f"a step takes {longer:.3g} times as long: no score makes up for that"
    if longer > 1 and not work.affords(round(anchor.steps * longer), round(anchor.steps * longer)):
        return f"a step takes {longer:.3g} times as long: no time was left to train it"
    return ""


def _verdict(found: str, gain: Gain | None, broke: bool) -> Verdict:
    if broke or gain is None:
        return "failed"
    if found == "kept":
        return "kept"
    return "promising" if gain.ratio > 1.0 and found == "not clear" else "dropped"


def fitting(work: Work, anchor: Anchor, candidate: Candidate) -> tuple[Recipe, Pace, str]:
    """The recipe with the change and its pace; without exact switches that do not go with it; or why there is none."""
    nothing = Pace(0.0, 0.0, 0.0, 1.0, 0, 0, 0.0, 0.0)
    try:
        whole = candidate.on(anchor.recipe)
    except BadRecipe as error:
        return anchor.recipe, nothing, f"refused: {error}"

    exact = [type(m).__name__ for m in whole.methods if m.exact and m not in candidate.methods]
    why = ""
    for without in ((), *((name,) for name in exact), tuple(exact)):
        recipe = whole.minus(*without)
        key = f"pace {work.stage} {anchor.recipe.hash} {recipe.hash}"
        found = Pace(**work.journal.once(key, lambda r=recipe: paced(work, anchor.recipe, r)))  # type: ignore[misc]
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
        pace(work.workload, one, other, device=work.place.device, rounds=ROUNDS * longer, longer=longer,
             least=work.block, checked=False)
    )  # fmt: skip


Anew = Callable[[Anchor, Recipe, Sequence[Trial]], Anchor]  # of a new incumbent: the old one, its recipe and its trials


def taken(judged: Judged, hopeful: bool = False) -> bool:
    """Whether what was judged becomes the incumbent; where leave-one-out asks again, hope is enough."""
    return judged.decision.verdict == "kept" or (hopeful and judged.decision.verdict == "promising")


def first_of_all(work: Work, anchor: Anchor, offered: Sequence[Candidate], anew: Anew) -> Anchor:
    """Changes that nearly always pay, in their order; they stay unless they are worse."""
    for candidate in offered:
        if work.affords(anchor.steps, anchor.steps):
            judged = judge(work, anchor, candidate)
            anchor = anew(anchor, judged.recipe, judged.trials) if taken(judged, hopeful=True) else anchor
    return anchor


def without_idle(work: Work, queue: Queue) -> None:
    """Leave out what has nothing to do here."""
    model = work.workload.model()
    asked = {one: getattr(one.methods[0], "idle", None) for one in queue.waiting}  # see decision 25
    idle = {one: ask(model, work.workload.train) if ask else "" for one, ask in asked.items()}
    queue.waiting = [one for one in queue.waiting if not idle[one]]
    for one, why in idle.items():
        if why:
            work.note(f"{type(one.methods[0]).__name__} is not tried: {why}")


def one_at_a_time(
    work: Work, anchor: Anchor, queue: Queue, anew: Anew
) -> tuple[Anchor, list[Judged], list[tuple[Judged, Recipe]]]:
    """Try what is waiting, each on top of what was kept so far, until time or candidates run out.

    Args:
        work: of the search.
        anchor: the incumbent.
        queue: of candidates.
        anew: gives the anchor of a new incumbent.

    Returns:
        The last anchor; what was kept; and what was not, each with the incumbent that it lost to.
    """
    kept: list[Judged] = []
    lost: list[tuple[Judged, Recipe]] = []
    while len(queue) and work.affords(anchor.steps, anchor.steps):
        candidate = queue.take()
        judged = judge(work, anchor, candidate)
        queue.told(candidate, judged.log)
        if taken(judged):
            kept.append(judged)
            anchor = anew(anchor, judged.recipe, judged.trials)
        else:
            lost.append((judged, anchor.recipe))
    if left := [type(one.methods[0]).__name__ for one in queue.waiting]:
        work.note(f"no time was left to try {', '.join(left)}")
    return anchor, kept, lost


def pairs(work: Work, anchor: Anchor, lost: Sequence[tuple[Judged, Recipe]], anew: Anew) -> tuple[Anchor, list[Judged]]:
    """Losers on top of what won since, and two losers together: what helps only in company is found here.

    Args:
        work: of the search.
        anchor: the incumbent.
        lost: each with the incumbent that it lost to.
        anew: as in `one_at_a_time`.
    """
    able = sorted((one for one in lost if one[0].log is not None), key=lambda one: -(one[0].log or 0.0))[:LOSERS]
    offered = [one.candidate for one, to in able if to.methods != anchor.recipe.methods]
    for (one, _), (other, _) in itertools.combinations(able, 2):
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
        if taken(judged):
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
        if taken(judged):
            better.append(judged)
            anchor = anew(anchor, judged.recipe, judged.trials)
    return anchor, better
