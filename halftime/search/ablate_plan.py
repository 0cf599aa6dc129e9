"""Plan of an ablation: in which changes a recipe differs from its base, and the recipes with some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from halftime.errors import BadRecipe, InputError
from halftime.places import Method
from halftime.recipe import Recipe

Set = frozenset[str]


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that a recipe has and its base has not.

    Args:
        name: of the method, or "without NAME", "budget" or "batch size".
        words: what it is, such as "+ EMA(decay=0.99)".
        adds: the method that comes.
        drops: names of the methods that go.
        size: fields of the recipe that take another value.
    """

    name: str
    words: str
    adds: Method | None = None
    drops: tuple[str, ...] = ()
    size: tuple[str, ...] = ()


def default_base(recipe: Recipe) -> Recipe:
    """The recipe's optimizer alone, at the same budget and batch size: what everybody would have begun with.

    Example:
        >>> from halftime.methods import EMA, AdamW
        >>> str(default_base(Recipe([AdamW(lr=0.003), EMA()], epochs=2)))
        'AdamW, 2 epochs, batch 128'
    """
    optimizer = recipe.get("optimizer")
    return recipe.replace(methods=() if optimizer is None else (optimizer,))


def changes(base: Recipe, recipe: Recipe) -> list[Change]:
    """What a recipe has and its base has not, one by one; a method that takes another one's slot is one change.

    Args:
        base: where it begins.
        recipe: where it ends.

    Raises:
        BadRecipe: they do not differ.

    Example:
        >>> from halftime.methods import EMA, SGD, AdamW
        >>> [c.words for c in changes(Recipe([SGD(lr=0.1)], epochs=4), Recipe([AdamW(lr=0.003), EMA()], epochs=2))][::2]
        ['AdamW(lr=0.003, weight_decay=0.01, beta1=0.9, beta2=0.999) in place of SGD', 'budget: 2 epochs']
    """
    here = {type(m).__name__: m for m in base.methods}
    there = {type(m).__name__: m for m in recipe.methods}
    found, gone = [], set[str]()
    for name, method in there.items():
        rival = base.get(method.slot) if method.slot else None
        given_way = type(rival).__name__ if rival is not None and type(rival).__name__ not in there else ""
        if name in here and here[name] == method:
            continue
        gone |= {given_way} - {""}
        words = f"{method} in place of {given_way}" if given_way else f"{method}" if name in here else f"+ {method}"
        found.append(Change(name, words, method, (given_way,) if given_way else ()))
    gone |= set(there)
    found += [Change(f"without {name}", f"without {name}", drops=(name,)) for name in here if name not in gone]
    budgets = [(r.epochs, r.steps, r.minutes) for r in (base, recipe)]
    if budgets[0] != budgets[1]:
        found.append(Change("budget", f"budget: {recipe.budget}", size=("epochs", "steps", "minutes")))
    sizes = [(r.batch_size, r.micro_batch) for r in (base, recipe)]
    if sizes[0] != sizes[1]:
        found.append(Change("batch size", f"batch size: {recipe.batch_size}", size=("batch_size", "micro_batch")))
    if not found:
        raise BadRecipe(f"{recipe} does not differ from its base: there is nothing to leave out")
    return found


def with_some(base: Recipe, recipe: Recipe, some: Iterable[Change]) -> Recipe:
    """The base with some of the changes.

    Args:
        base: where it begins.
        recipe: where the sizes come from.
        some: of the changes between the two.

    Raises:
        BadRecipe: they cannot be together, or one of them is missing what it acts on.
    """
    sizes: dict[str, object] = {}
    methods = {type(m).__name__: m for m in base.methods}
    for change in some:
        methods = {name: m for name, m in methods.items() if name not in change.drops}
        if change.adds is not None:
            methods[type(change.adds).__name__] = change.adds
        sizes |= {field: getattr(recipe, field) for field in change.size}
    made = base.replace(methods=tuple(methods.values()))
    budget = {k: v for k, v in sizes.items() if k in ("epochs", "steps", "minutes")}
    rest = {k: v for k, v in sizes.items() if k not in budget}
    made = made.replace(**budget) if budget else made
    return made.replace(**rest) if rest else made


def made_of(base: Recipe, recipe: Recipe, some: Iterable[Change]) -> tuple[Recipe | None, str]:
    """The base with some of the changes, or why it cannot be.

    What acts on an optimizer that the recipe chose is not tried without one: the loop would take torch's SGD at its
    default rate, which nobody chose, and what it lacks would look like a gain of the rest. A bare base stays.
    """
    try:
        made = with_some(base, recipe, some)
    except InputError as error:
        return None, str(error)
    chosen = recipe.get("optimizer")
    if chosen is None or made.get("optimizer") is not None or made == base:
        return made, ""
    names = ", ".join(type(method).__name__ for method in made.methods) or f"{made.budget}, batch {made.batch_size}"
    return None, f"{names} would be left without {type(chosen).__name__} or any other optimizer: give a --base with one"
