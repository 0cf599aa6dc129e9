"""Candidates: which changes a search may try on a workload, and which one next.

A method is a candidate if it can be made with its defaults, fits the workload (`needs`, and whatever it refuses itself
when it is tried), is not exact (those are timed, see `switches`) and was not measured to gain nowhere, or was asked for
by name. The next one is that with the highest expected gain a minute: what evidence promises
(`halftime.measure.prior`), or papers where nobody measured, shifted by how promises of that kind turned out here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch

from halftime.data.batch import on_device, split
from halftime.data.feed import CPU, Feed
from halftime.diagnose.misfit import inspect
from halftime.errors import BadRecipe, unknown
from halftime.measure.prior import Prior, prior
from halftime.methods import ALL, SGD, AdamW, OneCycle
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.search.retune import decays
from halftime.search.switches import settings
from halftime.workload import Workload

CAUTION = 3  # promises that count as kept before any was tested
TWICE = 2  # cost of a candidate whose optimizer is new, in costs of others: its rate is looked for from far
BOLD = 0.5  # standard deviation of what an optimizer gains that was never measured: it changes more than others do
UNKNOWN = (0.0, 0.2)  # mean and standard deviation of the log of the gain of a change about which nothing is known

# What papers and contests of short trainings let one expect, as logs of time, until it is measured here. It says which
# method is tried first, never whether one is kept: Jordan et al. 2024 (Muon, whitening, alternating flips, views at
# test time), Touvron et al. 2019 (sizes), Izmailov et al. 2018 (averages); mixing and cutting pay in long trainings.
PUBLISHED = {
    "Muon": 0.3, "Whitening": 0.15, "ProgressiveResize": 0.15, "SequenceGrowth": 0.15, "EMA": 0.1, "TestTimeFlip": 0.1,
    "LabelSmoothing": 0.05, "AlternatingFlip": 0.05, "CutMix": -0.1, "MixUp": -0.1, "Cutout": -0.1, "StepDrop": -0.1,
    "DropOnStall": -0.1, "DropStochastic": -0.1, "Cosine": -0.05,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A change that may be tried: one or more methods, and what they may be expected to gain, as a log of time."""

    methods: tuple[Method, ...]
    mean: float = UNKNOWN[0]
    sd: float = UNKNOWN[1]
    cost: float = 1.0  # of a training with it over one without
    measured: bool = False  # whether the expectation rests on evidence, or on what was published

    @property
    def name(self) -> str:
        """In words."""
        return " ".join(f"+ {method}" for method in self.methods)

    @property
    def fresh(self) -> bool:
        """Whether it brings an optimizer, whose rate the incumbent's tells nothing about."""
        return any(method.slot == "optimizer" for method in self.methods)

    def on(self, recipe: Recipe) -> Recipe:
        """The recipe with the change; a method in the same slot gives way.

        Raises:
            BadRecipe: the methods cannot be together.
        """
        slots = {method.slot for method in self.methods} - {""}
        names = {type(method).__name__ for method in self.methods}
        kinds = {type(m).__name__ for m in recipe.methods if m.slot in slots} - names
        return recipe.minus(*sorted(kinds)).plus(*self.methods)


def facts_of(workload: Workload, recipe: Recipe, device: torch.device = CPU) -> frozenset[str]:
    """What is true of a workload that methods may need, from one batch of it; see `halftime.diagnose.misfit`."""
    feed = Feed(workload.train, recipe.batch_size, 0, device=device)
    return inspect(workload, workload.model().to(device), split(on_device(feed.look(), device)))


def device_class(device: torch.device) -> str:
    """What evidence calls a device: "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def expected(kinds: Iterable[type[Method]], facts: Collection[str], device: str) -> dict[str, Prior]:
    """What evidence lets one expect of methods, by name.

    Args:
        kinds: classes of methods.
        facts: of the workload.
        device: its class, as evidence names it; what was measured on another says nothing.
    """
    return {kind.__name__: prior(kind.__name__, facts, device) for kind in kinds}


def candidates(
    recipe: Recipe,
    known: Sequence[type[Method]] = (),
    named: Sequence[Method] | None = None,
    device: torch.device = CPU,
    facts: frozenset[str] | None = None,
    told: Mapping[str, Prior] | None = None,
) -> list[Candidate]:
    """What may be tried on a recipe.

    Args:
        recipe: the base.
        known: method classes besides halftime's own.
        named: methods that were asked for, in place of all others.
        device: that trains; what was measured on another class of device says nothing.
        facts: of the workload; a method that needs others is left out. None if they are not known.
        told: what may be expected of methods, by name; read from the evidence if None.
    """
    wanted = [method for method in named or () if not type(method).exact]
    if named is None:
        kinds = [kind for kind in (*ALL, *known) if not kind.exact and (facts is None or kind.needs <= facts)]
        kinds = [kind for kind in kinds if kind.slot != "devices"]  # how many there are is decided where it is started
        wanted = [made[0] for kind in kinds if (made := settings(kind))]
    here = {type(method) for method in recipe.methods}
    found = []
    for method in wanted:
        if type(method) in here and (named is None or method in recipe.methods):
            continue
        name = type(method).__name__
        hope = told[name] if told and name in told else prior(name, facts or (), device_class(device))
        if named is None and not hope.helps:
            continue
        bold = method.slot == "optimizer" and not hope.measured
        mean = hope.gain if hope.measured else PUBLISHED.get(name, 0.0)
        found.append(Candidate((method,), mean, BOLD if bold else hope.spread, hope.cost, bool(hope.measured)))
    return found


def opening(recipe: Recipe) -> list[Candidate]:
    """What is tried before everything else, as it gains most wherever it is missing: a decaying rate, then AdamW."""
    found = [] if decays(recipe) else [Candidate((OneCycle(),))]
    return found + [Candidate((AdamW(),))] * isinstance(recipe.get("optimizer"), (SGD, type(None)))


def variants(recipe: Recipe, kept: Iterable[Method]) -> list[Candidate]:
    """Other settings of methods that were kept, from their `choices`; the learning rate is tuned anyway."""
    found = []
    for method in kept:
        fields = {name: values for name, values in type(method).choices.items() if name != "lr"}
        for name, values in fields.items():
            others = [value for value in values if value != getattr(method, name)]
            found += [Candidate((dataclasses.replace(method, **{name: v}),), -0.02, 0.06) for v in others]
    return [one for one in found if one.methods[0] not in recipe.methods]


def named_methods(texts: Sequence[Method | str], known: Sequence[type[Method]] = ()) -> list[Method]:
    """Methods from names or from methods.

    Raises:
        UnknownName: there is no such method. BadRecipe: it cannot be made without arguments.
    """
    classes = {kind.__name__: kind for kind in (*ALL, *known)}
    found: list[Method] = []
    for text in texts:
        if isinstance(text, str) and text not in classes:
            raise unknown("method", text, classes)
        made = [text] if isinstance(text, Method) else settings(classes[text])[:1]
        if not made:
            raise BadRecipe(f"{text} needs arguments: give it as in Python, such as {text}(…)")
        found += made
    return found


class Queue:
    """Candidates, the one with the highest expected gain a minute first.

    Args:
        waiting: those that may be tried.
    """

    def __init__(self, waiting: Iterable[Candidate]) -> None:
        self.waiting = list(waiting)
        self._tested: list[tuple[bool, float]] = []  # whether it was measured, and by how much more it gained, logs

    def __len__(self) -> int:
        return len(self.waiting)

    def take(self) -> Candidate:
        """The next one; it is no longer waiting."""
        best = max(self.waiting, key=self.worth)
        self.waiting.remove(best)
        return best

    def told(self, candidate: Candidate, gain: float | None) -> None:
        """Hear what one gained, as a log of time; None where it could not be trained."""
        if gain is not None:
            self._tested.append((candidate.measured, max(-1.0, min(1.0, gain)) - candidate.mean))

    def shift(self, measured: bool) -> float:
        """By how much what was found here lies above what was promised, by evidence or by what was published."""
        more = [excess for kind, excess in self._tested if kind == measured]
        return math.fsum(more) / (len(more) + CAUTION)

    def worth(self, candidate: Candidate) -> float:
        """Expected gain over cost: the mean of a normal distribution above zero."""
        mean, sd = candidate.mean + self.shift(candidate.measured), candidate.sd
        z = mean / sd
        above = mean * 0.5 * math.erfc(-z / math.sqrt(2)) + sd * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return above / (candidate.cost * (TWICE if candidate.fresh else 1))
