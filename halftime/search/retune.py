"""Retune: a recipe's own learning rate, in full for the base and by a warm start for each change.

A change is judged at its own rate. For most changes that rate is near the incumbent's, so three rates around it are
tried over a share of the steps, and more at the side where the best lies at the edge. Another optimizer starts from a
wider grid around its own default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from halftime.places import Method, overrides
from halftime.recipe import Recipe
from halftime.search import rates
from halftime.search.phases import REACH, ShuffledTargets, changed, setting_of
from halftime.search.records import Trial
from halftime.search.work import Work

SEEDS = 10_000  # where the seeds of searches for a rate begin
SHARE, SHORTEST = 0.25, 64  # of the steps, and steps, over which rates are compared for a warm start
CLEARLY = 0.02  # of the loss: the rate to start from stays where no other does better by so much
SCANNED = 12  # steps of the shortest trainings of the base: fewer tell nothing
WARM, GROWN = 2.0, 4  # factor between neighbouring rates; rates that may be added at the edges
COLD, POINTS = 3.5, 5  # the same for an optimizer that is new: factor and rates of the first look


def rate_of(recipe: Recipe) -> float | None:
    """The learning rate of a recipe, None where it has none of its own."""
    rate = setting_of(recipe, "lr") if recipe.get("optimizer") else None
    return float(rate) if isinstance(rate, (int, float)) else None


def decays(recipe: Recipe) -> bool:
    """Whether a method of the recipe lets the rate fall."""
    return any(m.slot == "schedule" or overrides(m, "lr_factor") for m in recipe.methods)


def of_length(recipe: Recipe, steps: int) -> Recipe:
    """A recipe with other steps, its rate moved to them."""
    rate, before = rate_of(recipe), recipe.steps or steps
    if rate is None:
        return recipe.replace(steps=steps)
    return changed(recipe, lr=float(f"{rate * (steps / before) ** -rates.DRIFT:.3g}")).replace(steps=steps)


def added(recipe: Recipe, base: Recipe) -> list[str]:
    """Names of the methods of a recipe that are not those of another; a learning rate alone makes no other method."""
    mine = {type(m): m for m in base.methods}

    def same(method: Method) -> bool:
        other = mine.get(type(method))
        if other is None or not hasattr(method, "lr"):
            return other == method
        return type(method).from_dict({**method.to_dict(), "lr": getattr(other, "lr", None)}) == other

    return [type(m).__name__ for m in recipe.methods if not same(m)]


def base_rate(work: Work, recipe: Recipe, steps: int) -> rates.Chosen:
    """The rate of the base from the whole search for one, over its real length.

    Args:
        work: of the search.
        recipe: of the base.
        steps: of its real length.
    """
    own = rate_of(recipe) or 0.0
    tries: list[rates.Try] = []
    while True:
        step = rates.advance(own / REACH, own * REACH, tries, shuffled=True)
        if isinstance(step, rates.Chosen):
            return step
        wanted = []
        for ask in step:
            length = min(steps, max(SCANNED, round(steps * ask.share)))
            short = changed(recipe, lr=ask.rate).replace(steps=length)
            wanted.append((short.plus(ShuffledTargets()) if ask.control else short, SEEDS + ask.seed))
        tries += [rates.Try(ask, loss_of(t)) for ask, t in zip(step, work.together(wanted), strict=True)]


def retuned(work: Work, recipe: Recipe, rate: float | None, steps: int) -> tuple[Recipe, list[Trial]]:
    """A recipe at its own rate.

    Args:
        work: of the search.
        recipe: with a change.
        rate: the incumbent's, to start from; None where the optimizer is new and its default is all there is.
        steps: at which the change is judged.

    Returns:
        The recipe with the rate chosen, and the trials; as it was where it has no rate.
    """
    own = rate_of(recipe)
    if own is None:
        return recipe, []
    length = min(steps, max(SHORTEST, round(steps * SHARE)))
    ahead = (length / steps) ** -rates.DRIFT  # shorter trainings want higher rates
    losses: dict[float, float] = {}
    trials: list[Trial] = []

    def look(asked: Sequence[float]) -> None:
        new = list(dict.fromkeys(value for value in asked if value not in losses))
        found = work.together([(changed(recipe, lr=value).replace(steps=length), SEEDS + 100) for value in new])
        trials.extend(found)
        losses.update(zip(new, map(loss_of, found), strict=True))

    def grow(factor: float) -> None:
        for _ in range(GROWN):
            best = min(losses, key=lambda r: losses[r])
            if min(losses.values()) == math.inf:
                look([_digits(min(losses) / factor)])
            elif best in (min(losses), max(losses)):
                look([_digits(best / factor if best == min(losses) else best * factor)])

    if rate is None:
        look([_digits(own * ahead * COLD ** (k - POINTS // 2)) for k in range(POINTS)])
        grow(COLD)
    centre = (rate or 0.0) * ahead if rate else min(losses, key=lambda r: losses[r])
    look([_digits(centre * WARM**k) for k in (-1, 0, 1)])
    grow(WARM)
    work.rated[unrated(recipe)] = len(losses)
    if min(losses.values()) == math.inf:
        return recipe, trials
    middle = losses[_digits(centre)]
    if middle - min(losses.values()) <= CLEARLY * abs(middle):
        return changed(recipe, lr=_digits(centre / ahead)), trials
    return changed(recipe, lr=_digits(rates.lowest(losses) / ahead)), trials


def unrated(recipe: Recipe) -> str:
    """A recipe whatever its rate, its length, and what changes no number in it."""
    optimizer = recipe.get("optimizer")
    assert optimizer is not None, "only what has a rate is asked"
    exact = [type(m).__name__ for m in recipe.methods if m.exact]
    rest = recipe.minus(type(optimizer).__name__, *exact).replace(steps=1, micro_batch=None)
    fields = {k: v for k, v in optimizer.to_dict().items() if k != "lr" and not k.endswith("_lr")}
    return f"{rest.hash} {type(optimizer).__name__} {sorted(fields.items())}"


def loss_of(trial: Trial) -> float:
    """The validation loss at the end, infinite where there is none."""
    finite = trial.ended and trial.loss is not None and math.isfinite(trial.loss)
    return trial.loss if finite and trial.loss is not None else math.inf


def _digits(rate: float) -> float:
    return float(f"{rate:.3g}")
