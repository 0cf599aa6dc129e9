"""The grounds on which methods are measured, and what a method is measured against there.

A ground is a workload of seconds with a recipe that suits it. Which two of them a method is meant for follows from what
it needs and from its slot; what it is measured against is the same recipe without it, and where it takes the place of
another method, with that one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from halftime.data.feed import Feed
from halftime.errors import unknown
from halftime.evidence.controls import control_of
from halftime.methods import SGD, AdamW, OneCycle, StepDrop
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.workload import Workload

LOOKS = 8  # evaluations in a training: the last is judged, the others tell about when the target was met
EACH = 2  # grounds of a method


@dataclasses.dataclass(frozen=True)
class Ground:
    """A workload to measure on: what makes it, a recipe that suits it, and its facts."""

    name: str
    make: Callable[[], Workload]
    recipe: Recipe
    facts: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is trained on one ground for one method: the recipe without it, with it, and with its random control."""

    method: Method
    ground: Ground
    workload: Workload
    base: Recipe
    fast: Recipe
    control: Recipe | None

    @property
    def arms(self) -> dict[str, Recipe]:
        """The recipes by name."""
        arms = {"base": self.base, "fast": self.fast}
        return arms if self.control is None else arms | {"control": self.control}


def _recipe(lr: float, decay: float, epochs: float, batch: int) -> Recipe:
    return Recipe([AdamW(lr=lr, weight_decay=decay), OneCycle()], epochs=epochs, batch_size=batch)


def _digits() -> Workload:
    from halftime.workloads.digits import digits

    return digits()


def _small(name: str) -> Callable[[], Workload]:
    def make() -> Workload:
        from halftime.workloads import small

        made: Workload = getattr(small, name)()
        return made

    return make


_IMAGES = {"images", "movable", "classes", "labels", "kinds", "mean"}
GROUNDS = (
    Ground("digits", _digits, _recipe(0.005, 0.05, 9, 64), frozenset(_IMAGES)),
    Ground("shakespeare_small", _small("shakespeare_small"), _recipe(0.006, 0.1, 1, 16),
           frozenset({"classes", "labels", "mean", "tokens", "residual"})),
    Ground("fashion_mnist_small", _small("fashion_mnist_small"), _recipe(0.01, 0.05, 2, 64),
           frozenset(_IMAGES | {"mirrors", "residual"})),
    Ground("cifar10_small", _small("cifar10_small"), _recipe(0.01, 0.05, 3, 64), frozenset(_IMAGES | {"mirrors"})),
    Ground("digits_dropout", _small("digits_dropout"), _recipe(0.005, 0.05, 9, 64),
           frozenset({*_IMAGES, "stochastic"})),
    Ground("fashion_mnist_dropout", _small("fashion_mnist_dropout"), _recipe(0.01, 0.05, 2, 64),
           frozenset({*_IMAGES, "mirrors", "residual", "stochastic"})),
    Ground("fashion_mnist_unflipped", _small("fashion_mnist_unflipped"), _recipe(0.01, 0.05, 2, 64),
           frozenset({*_IMAGES, "residual", "unflipped"})),
    Ground("cifar10_unflipped", _small("cifar10_unflipped"), _recipe(0.01, 0.05, 3, 64),
           frozenset({*_IMAGES, "unflipped"})),
    Ground("digits_tail", _small("digits_tail"), _recipe(0.005, 0.05, 40, 32), frozenset(_IMAGES | {"tail"})),
    Ground("fashion_mnist_tail", _small("fashion_mnist_tail"), _recipe(0.01, 0.05, 4, 64),
           frozenset(_IMAGES | {"mirrors", "residual", "tail"})),
    Ground("multitask_small", _small("multitask_small"), _recipe(0.01, 0.05, 3, 64),
           frozenset({"images", "mirrors", "heads"})),
)  # fmt: skip
ONLY = {"tail", "heads", "stochastic", "unflipped"}  # facts of grounds that serve only whoever asks for them
WANTED = {  # what a method asks for beyond what it needs, by its slot or its name
    "mirroring": {"unflipped"},
    "stochastic": {"stochastic"},
    "judging": {"mirrors"},
    "initialisation": {"images"},
    "layout": {"images"},
    "prior": {"tail"},
    "RepeatFactor": {"tail"},
}
NAMED = {
    "ZeroResidual": ("fashion_mnist_small", "fashion_mnist_tail"),  # those with branches that end in a norm
    "Muon": ("cifar10_small", "shakespeare_small"),  # those whose matrices are widest
    "MixedPrecision": ("cifar10_small", "fashion_mnist_small"),  # those with most to multiply
    "ProgressiveResize": ("cifar10_small", "fashion_mnist_small"),  # the images of the digits have eight pixels a side
    "SoftPrune": ("digits", "cifar10_small"),  # those of several epochs: it leaves nothing out of the first
    "EasyFirst": ("digits", "cifar10_small"),
}
RIVALS: dict[str, Method] = {"AdamW": SGD(), "OneCycle": StepDrop()}  # of what the grounds' recipes hold themselves
OWN_SCHEDULE = {"ScheduleFree"}  # it takes the place of the schedule, too


def ground(name: str) -> Ground:
    """A ground by its name.

    Args:
        name: of its workload.

    Raises:
        UnknownName: there is none.
    """
    known = {one.name: one for one in GROUNDS}
    if name not in known:
        raise unknown("workload to measure on", name, known)
    return known[name]


def meant_for(kind: type[Method], names: Sequence[str] = ()) -> tuple[Ground, ...]:
    """The grounds a method is measured on, first those that suit it best.

    Args:
        kind: the class of the method.
        names: of grounds, in place of those that would be chosen.

    Example:
        >>> from halftime.methods import AlternatingFlip
        >>> [one.name for one in meant_for(AlternatingFlip)]
        ['fashion_mnist_unflipped', 'cifar10_unflipped']
    """
    if chosen := tuple(ground(name) for name in names or NAMED.get(kind.__name__, ())):
        return chosen
    wanted = (kind.needs - {"cuda"}) | WANTED.get(kind.slot, set()) | WANTED.get(kind.__name__, set())
    fit = [one for one in GROUNDS if wanted <= one.facts and one.facts & ONLY <= wanted]
    return tuple(fit[:EACH])


@functools.cache
def _made(where: Ground) -> Workload:
    """The workload of a ground, its data read once for all methods."""
    return dataclasses.replace(where.make(), evaluations=LOOKS)


def comparison(method: Method, where: Ground) -> Comparison:
    """What is trained to measure a method on a ground.

    Args:
        method: as it is measured; where the ground's recipe holds it itself and no setting is given, with the settings
            that suit the ground.
        where: the ground.
    """
    name, own = type(method).__name__, where.recipe
    if name in RIVALS:
        suits = own.get(method.slot) if method.slot else None
        method = suits if type(suits) is type(method) and method == type(method)() else method
        base = own.plus(RIVALS[name]) if not _filled(own, method) else _swapped(own, RIVALS[name])
        fast = own.plus(method)
    else:
        base, fast = own, _swapped(own, method)
    workload = _made(where)
    control = control_of(method, Feed(workload.train, own.batch_size, 0))
    beside = None if control is None else fast.minus(name).plus(*control)
    return Comparison(method, where, workload, base, fast, beside)


def _filled(recipe: Recipe, method: Method) -> bool:
    return bool(method.slot) and recipe.get(method.slot) is not None


def _swapped(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with a method, in the place of the one that fills its slot."""
    filled = recipe.get(method.slot) if method.slot else None
    gone = {type(filled).__name__} if filled is not None else set()
    if type(method).__name__ in OWN_SCHEDULE and (schedule := recipe.get("schedule")) is not None:
        gone.add(type(schedule).__name__)
    return recipe.minus(*gone).plus(method)
