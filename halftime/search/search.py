"""Search: a workload and some minutes in, a faster recipe with its proof out.

Threads → tuned base → a decaying schedule and AdamW or its better → exact switches → batch size → other methods, one
at a time on top of those that were kept → pairs of losers → the shortest schedule → leave one out → proof on seeds
that nothing was chosen by. Each stage stands in a file of its own; this one gives them their shares of the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from halftime.errors import BadValue, BadWorkload, shorten
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.resume import identity
from halftime.ledger.store import Ledger
from halftime.measure.device import pick
from halftime.measure.prior import Prior
from halftime.methods import ALL
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.search import batch, combine, gains, length, outcome
from halftime.search.candidates import (
    Candidate,
    Queue,
    candidates,
    device_class,
    expected,
    facts_of,
    named_methods,
    opening,
)
from halftime.search.drift import Reference
from halftime.search.engine import Pool
from halftime.search.gains import Anchor
from halftime.search.journal import Journal, alone, records
from halftime.search.leap import leapt, opened, preferred
from halftime.search.machine import kept_settings, try_settings
from halftime.search.prune import left_out
from halftime.search.records import Found, Trial
from halftime.search.retune import added
from halftime.search.start import HOPED, SEEDS, SURELY, Start, offered, start
from halftime.search.switches import Switch, switches, try_switches
from halftime.search.view import View
from halftime.search.work import BLOCK, Engine, OutOfTime, Place, Work, in_turn
from halftime.workload import Workload

ENDING = 0.35  # of the time between base and proof, that is kept for the last stages: shorten, and leave one out
LONGER = 2  # times the steps at which changes are judged: a run of the final recipe is about so long
SHARES = {  # of what is left when a stage begins
    "settings": 0.1, "opening": 0.7, "switches": 0.15, "batch": 0.15, "methods": 0.7, "pairs": 0.4, "refine": 0.5,
    "shorten": 0.6,
}  # fmt: skip


@dataclasses.dataclass
class Plan:
    """What a search is asked for, beside its workload."""

    base: Recipe
    named: list[Method] | None
    known: tuple[type[Method], ...]
    proof: bool = True
    machine: bool = True


def search(
    workload: Workload,
    base: Recipe,
    *,
    minutes: float | None = None,
    methods: Sequence[Method | str] | None = None,
    known: Sequence[type[Method]] = (),
    resume: bool = False,
    price: float | None = None,
    proof: bool = True,
    machine: bool = True,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    quiet: bool | None = None,
    source: str = "",
    engine: Engine = in_turn,
    block: float = BLOCK,
) -> Found:
    """Find a recipe that reaches the workload's target sooner than a base, and prove it.

    Args:
        workload: must have a target.
        base: the recipe to beat; it is tuned first.
        minutes: for everything, the proof included; with `resume`, those of the search that goes on if None.
        methods: names or methods that may be tried, in place of all others that may change the result; exact switches
            and the batch size are tried all the same.
        known: method classes besides halftime's own.
        resume: go on with the newest search of the same workload, base and methods that has not ended.
        price: money for an hour of a device; with `resume`, that of the search that goes on if None.
        proof: whether to end with the proof; without it nothing is claimed.
        machine: whether what depends on the machine is tried: threads, precision, exact switches and the batch size.
        device: as in `train`.
        ledger: as in `train`.
        quiet: True shows nothing, False plain lines, None a live line on a terminal.
        source: as in `train`.
        engine: trains jobs; by default in this process, one after the other.
        block: seconds of a block of steps where steps are timed.

    Raises:
        BadWorkload: no target; the message has the line to write.
        BadRecipe: the base has no optimizer with a rate, and so on.
        BadValue: no time, or nothing to resume.
    """
    named = None if methods is None else named_methods(methods, known)
    where, ledger = pick(device), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    ledger.check_writable()
    asked = {
        "workload": identity(workload, base, 0, source)["workload"],
        "base": base.to_dict(),
        "methods": None if named is None else [str(one) for one in named],
        "device": str(where),
    }
    if isinstance(engine, Pool):
        engine.check(source)
    folder, limit = _begun(ledger, asked, minutes, resume)
    with contextlib.ExitStack() as ending:
        ending.enter_context(alone(folder))
        price, devices = outcome.paid(folder, price, engine.held if isinstance(engine, Pool) else 1)
        journal, view = Journal(ledger, folder), View(quiet, price, devices)
        work = Work(Place(workload, ledger, folder.name, device, source), journal, view, 60 * limit, engine, block)
        ending.enter_context(journal.log)
        ending.enter_context(kept_settings())
        journal.log.record("start", durable=True, search=folder.name, minutes=limit, price=price, devices=devices,
                           fingerprint=fingerprint(where), **asked)  # fmt: skip
        try:
            found = _searched(work, Plan(base, named, tuple(known), proof, machine))
        except OutOfTime as error:
            text = str(error) or f"{limit:g} minutes are over before a recipe was ready: give at least twice as many"
            found = outcome.ended(work, Start(base, 0, (), 0.0, None), "too short", text + outcome.so_far(work))
        finally:
            view.close()
        found = dataclasses.replace(found, price=price, devices=devices)
        journal.log.record("found", **found.to_dict())
        journal.log.end("finished")
    return found


def _begun(ledger: Ledger, asked: dict[str, Any], minutes: float | None, resume: bool) -> tuple[Path, float]:
    """The folder of the search, and its minutes."""
    if minutes is not None and not (isinstance(minutes, (int, float)) and 0 < minutes < math.inf):
        raise BadValue(f"minutes must be more than 0, not {shorten(minutes)}")
    if not resume:
        if minutes is None:
            raise BadValue("a search needs its time: give hours or minutes")
        return ledger.new("search"), float(minutes)
    for folder in reversed(ledger.searches):
        lines = records(folder)
        same = bool(lines) and all(lines[0].get(key) == value for key, value in asked.items())
        if not same or any(line["kind"] == "found" for line in lines):
            continue
        if minutes is not None and minutes != lines[0]["minutes"]:
            raise BadValue(f"{folder.name} was given {lines[0]['minutes']:g} minutes, not {minutes:g}: leave them out")
        return folder, float(lines[0]["minutes"])
    raise BadValue("there is no unfinished search of this workload, base and methods to go on with")


def _searched(work: Work, plan: Plan) -> Found:
    """All stages."""
    work.stage = "base"
    base = plan.base
    if work.workload.target is None:
        raise BadWorkload(offered(work.workload, work.train(base, range(SEEDS, SEEDS + 3))))
    work.view.say(f"{work.workload.name}: {work.limit / 60:g} minutes to beat {base}")
    if isinstance(work.engine, Pool):
        work.note(work.engine.words)
    if work.journal.once("alone", lambda: not isinstance(work.engine, Pool)) and plan.machine:
        with work.share("settings", SHARES["settings"]):  # workers choose their threads; it goes on as it began
            try_settings(work, base)
    began = start(work, base)
    if began.signal:
        return outcome.ended(work, began, "no signal", f"no signal: {began.signal}; nothing can be compared")
    hoped = SURELY if plan.named is None and opening(began.base) else HOPED
    work.reserved = began.proof(work.limit, hoped) if plan.proof else 0.0
    if work.left <= 0:
        needed = (work.journal.spent + 3 * work.reserved) / 60
        text = f"base and proof alone take more than {work.limit / 60:g} minutes: give at least {needed:.2g}"
        return outcome.ended(work, began, "too short", text + outcome.so_far(work))
    work.watch = Reference(work, began.base)
    ending = ENDING * work.left
    work.reserved += ending
    anchor, names = _changed(work, plan, began)
    work.reserved -= ending
    with work.share("shorten", SHARES["shorten"]):
        goal = began.aimed(anchor.sd, work.workload.tolerance, work.limit - work.journal.spent)
        short = length.shortest(work, anchor, goal, round(length.LONGEST * _steps(anchor, began)))
    if short.recipe is None:
        return outcome.unreached(work, began, short)
    recipe = short.recipe
    work.reserved = began.proof(work.limit, outcome.likely(work, began, recipe)) if plan.proof else 0.0
    with work.share("leave one out", 1.0):
        try:
            recipe = left_out(work, began.base, goal, anchor, short, names)
        except OutOfTime:
            work.note("the time was over while one change after the other was left out: the recipe stays whole")
    return outcome.concluded(work, began, recipe, plan.proof)


def _steps(anchor: Anchor, began: Start) -> float:
    """Steps of the base, in batches of the incumbent's size."""
    return began.steps * began.base.batch_size / anchor.recipe.batch_size


def _changed(work: Work, plan: Plan, began: Start) -> tuple[Anchor, list[str]]:
    """The stages that change the recipe: the last anchor, and the names of methods that were added."""

    def anew(before: Anchor, changed: Recipe, trials: Sequence[Trial]) -> Anchor:
        work.view.best = str(changed)
        return renewed(work, before, changed, trials, began.goal)

    where = pick(work.place.device)
    with work.share("opening", SHARES["opening"]):
        base = began.base.replace(steps=began.steps)
        facts = facts_of(work.workload, base, where)
        told = _expected(work, plan, facts, where)
        usual = opening(base) if plan.named is None else []
        first, far = preferred(work, base, usual, told), None
        for some in [first, usual] if first != usual else [first]:
            if some and far is None:
                far = leapt(work, began, Candidate(tuple(m for one in some for m in one.methods)))
        anchor = far or gains.anchored(work, base, began.steps, began.goal, known=began.trials)
        if far is None:
            anchor = combine.first_of_all(work, anchor, usual, anew)
    anchor = _quicker(work, plan, anchor, anew)
    seen = opened(work.decisions)
    if plan.named is None:  # another setting of what the base has is tried where it was asked for
        seen |= {type(method).__name__ for method in began.base.methods}
    queue = Queue(candidates(anchor.recipe, plan.known, plan.named, where, facts, told))
    queue.waiting = [one for one in queue.waiting if type(one.methods[0]).__name__ not in seen]
    combine.without_idle(work, queue)
    with work.share("methods", SHARES["methods"]):
        anchor, kept, lost = combine.one_at_a_time(work, anchor, queue, anew)
    with work.share("pairs", SHARES["pairs"]):
        anchor, more = combine.pairs(work, anchor, lost, anew)
    with work.share("refine", SHARES["refine"]):
        anchor, _ = combine.refine(work, anchor, [*kept, *more], anew)
    return anchor, added(anchor.recipe, began.base)


def _expected(work: Work, plan: Plan, facts: frozenset[str], where: torch.device) -> dict[str, Prior]:
    """What evidence let one expect when the search began: a later attempt must not go by what was measured since."""
    kinds = (*ALL, *plan.known, *map(type, plan.named or ()))
    told = work.journal.once(
        "expected",
        lambda: {name: dataclasses.asdict(one) for name, one in expected(kinds, facts, device_class(where)).items()},
    )
    return {name: Prior(**one) for name, one in told.items()}


def _quicker(work: Work, plan: Plan, anchor: Anchor, anew: combine.Anew) -> Anchor:
    """Exact switches, and the batch size; of exact methods that were asked for by name the setting that was meant."""
    asked = [Switch(method) for method in plan.named or () if type(method).exact]
    others = [one for one in switches(anchor.recipe, plan.known) if plan.machine and one not in asked]
    with work.share("switches", SHARES["switches"]):
        quick = try_switches(work, anchor.recipe, LONGER * anchor.steps, [*asked, *others])
        anchor = dataclasses.replace(anchor, recipe=quick)  # its scores are what they were
    if plan.machine:
        with work.share("batch", SHARES["batch"]):
            larger = batch.by_time(work, anchor)
            anchor = anew(anchor, *larger) if larger else anchor
    return anchor


def renewed(work: Work, before: Anchor, recipe: Recipe, trials: Sequence[Trial], goal: float) -> Anchor:
    """The anchor of a new incumbent: at fewer steps, where it now meets the goal at those of the old one."""
    mine = {t.seed: t for t in trials}
    mean = math.fsum(work.signed(t) for t in trials) / len(trials)
    if mean >= goal:
        return gains.anchored(work, recipe, recipe.steps or before.steps, goal, before, trials)
    return Anchor(recipe, mine, before.slope, before.squares, before.freedom)
