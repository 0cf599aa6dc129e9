"""Switches: changes that are exact, timed on this network and machine, and kept only where they are clearly faster.

Nothing but seconds can differ, so a few dozen steps of each side decide, in blocks that take turns in random order
after a check of the first side against itself. What looks faster is looked at again, for longer: of many switches the
luckiest always looks good. What needs a start-up, such as a compilation, must earn it back well within the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from halftime.errors import BadRecipe, BadValue
from halftime.methods import ALL
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.search.memory import fits
from halftime.search.records import Decision, Gain, Pace
from halftime.search.timing import ROUNDS, TOO_LONG, pace
from halftime.search.work import Work

ONLY_SAFE = ("guard",)  # slots whose exact methods make a run safer, not faster
HOPELESS = 0.97  # where the usual setting of a method is slower than so, its other settings are not tried
EARNED = 0.5  # of the run: a start-up must be earned back within this share of its steps
COMPILING = 3.0  # seconds that a compiler takes at least


@dataclasses.dataclass(frozen=True)
class Switch:
    """An exact change: a method in one setting, that the recipe does not have."""

    method: Method

    @property
    def name(self) -> str:
        """In words."""
        return f"+ {self.method}"


def switches(recipe: Recipe, known: Sequence[type[Method]] = ()) -> Iterator[Switch]:
    """Every exact change that can be made to a recipe: one setting of each method, and what its `choices` offer.

    Args:
        recipe: what they would be added to.
        known: method classes besides halftime's own.
    """
    for kind in (*ALL, *known):
        if not kind.exact or kind.slot in ONLY_SAFE:
            continue
        for method in settings(kind):
            if method not in recipe.methods:
                yield Switch(method)


def settings(kind: type[Method]) -> list[Method]:
    """A class with its defaults, then with each of its choices in one field; those that cannot be made are left out."""
    found: list[Method] = []
    tries: list[dict[str, Any]] = [{}, *({name: value} for name, values in kind.choices.items() for value in values)]
    for fields in tries:
        try:
            method = kind(**fields)
        except (BadValue, TypeError):  # a field without a default, or a choice that another machine has
            continue
        if method not in found:
            found.append(method)
    return found


def clear(found: Pace) -> bool:
    """Whether a ratio is clearly above 1: its interval excludes it, and it beats what a recipe gains over itself."""
    return found.low > 1.0 and found.ratio > found.same


def judge(found: Pace, again: Pace | None, steps: int) -> tuple[str, str]:
    """(verdict, why) of a switch.

    Args:
        found: of the first look.
        again: of the second, if there was one.
        steps: of the run that it is for.
    """
    if found.why:
        kind = next((kind for kind in ("refused", "too long") if found.why.startswith(kind)), "failed")
        return kind, found.why.removeprefix("too long: ")
    if not clear(found):
        return "dropped", f"{words(found)}: not clearly faster"
    if again is None or again.why or not clear(again):
        return "dropped", f"{words(again or found)} at a second look: not clearly faster"
    earned = max(again.pays_after or 0, found.pays_after or 0)
    if earned > EARNED * steps:
        return "too long", f"{words(again)}, but its start-up is earned back after {earned} steps of {steps} only"
    return "kept", f"{words(again)}" + (f", start-up earned back after {earned} of {steps} steps" if earned > 1 else "")


def words(found: Pace) -> str:
    """A ratio with its interval."""
    return f"{found.ratio:.3f}× a step (95 % interval {found.low:.3f}× to {found.high:.3f}×, A/A {found.same:.3f}×)"


def timed(work: Work, first: Recipe, second: Recipe, steps: int) -> tuple[Pace, Pace | None]:
    """Both looks at a switch, by way of the journal; the second only where the first is clear."""
    key = f"pace {work.stage} {first.hash} {second.hash}"
    how = {"device": work.place.device, "least": work.block}

    patience = EARNED * steps * work.step_of(first)
    if patience < COMPILING and second.get("compiler") and not first.get("compiler"):
        why = f"{TOO_LONG} it must be earned back within {patience:.1f} s, and compiling alone takes more"
        return Pace(0.0, 0.0, 0.0, 1.0, 0, 0, 0.0, 0.0, why), None

    def look(name: str, **more: int) -> Pace:
        work.view.trying(f"timing {second}", work.journal.spent, work.limit)
        made = work.journal.once(
            f"{key}{name}",
            lambda: dataclasses.asdict(pace(work.workload, first, second, patience=patience, **how, **more)),  # type: ignore[arg-type]
        )
        return Pace(**made)

    found = look("")
    if found.why or not clear(found) or (found.pays_after or 0) > steps:
        return found, None
    return found, look(" again", longer=2, rounds=ROUNDS + 2)


def try_switches(work: Work, recipe: Recipe, steps: int, offered: Sequence[Switch]) -> Recipe:
    """Time one switch after the other on top of those that were kept.

    Args:
        work: of the search.
        recipe: what is sped up.
        steps: of the run that it is for.
        offered: what may be tried.

    Returns:
        The recipe with what was kept. Of one slot, the setting that is fastest in turn.
    """
    hopeless: set[type[Method]] = set()
    for switch in offered:
        if work.journal.spent >= work.until:
            break
        if type(switch.method) in hopeless or switch.method in recipe.methods:
            continue
        began = work.journal.spent
        try:
            others = [type(m).__name__ for m in recipe.methods if m.slot and m.slot == switch.method.slot]
            changed = recipe.minus(*others).plus(switch.method)
        except BadRecipe as error:
            work.decide(Decision(work.stage, switch.name, "refused", str(error)))
            continue
        found, again = timed(work, recipe, changed, steps)
        verdict, why = judge(found, again, steps)
        if verdict == "kept":
            key = f"memory {work.stage} {changed.hash}"
            fit = work.journal.once(key, lambda r=changed: _fit(work, r))  # type: ignore[misc]
            verdict, why = (verdict, why) if fit["fits"] else ("refused", f"not safe: {fit['why']} ({fit['tried']})")
        last = again or found
        gain = Gain(last.ratio, last.low, last.high, last.rounds, 0.0, last.ratio) if last.ratio else None
        work.decide(
            Decision(work.stage, switch.name, verdict, why, {type(switch.method).__name__: switch.method.to_dict()},  # type: ignore[arg-type]
                     gain, seconds=round(work.journal.spent - began, 3), recipe=changed.to_dict())
        )  # fmt: skip
        recipe = changed if verdict == "kept" else recipe
        if 0 < last.ratio < HOPELESS or verdict == "too long":
            hopeless.add(type(switch.method))
    return recipe


def _fit(work: Work, recipe: Recipe) -> dict[str, Any]:
    return dataclasses.asdict(fits(work.workload, recipe, work.place.device))
