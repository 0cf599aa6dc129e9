"""Recipe: a set of methods, a budget and a batch size. Pure data, equal by content, one hash whatever the order."""

from __future__ import annotations

import dataclasses
import graphlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from halftime.errors import BadRecipe, BadValue, replace, shorten, unknown
from halftime.places import Method
from halftime.settings import checked

FORMAT = 1  # of the JSON file
_FIELDS = ("halftime", "methods", "epochs", "steps", "minutes", "batch_size", "micro_batch")


@dataclasses.dataclass(frozen=True, init=False)
class Recipe:
    """Methods, a budget and a batch size; off means absent.

    Args:
        methods: any order; kept sorted. At most one of each class and one in each slot.
        epochs: passes over the training data (may be a fraction) ...
        steps: ... or optimizer steps ...
        minutes: ... or minutes of training, evaluation not counted. Exactly one of the three.
        batch_size: samples in an optimizer step.
        micro_batch: samples in one forward and backward pass, where a whole batch does not fit the memory.

    Raises:
        BadValue: a value of the wrong type or out of range.
        BadRecipe: two methods in one slot, no budget or several.

    Example:
        >>> from halftime.methods import AdamW, OneCycle
        >>> recipe = Recipe([AdamW(lr=3e-3), OneCycle()], epochs=8)
        >>> recipe == Recipe.from_json(Recipe([OneCycle(), AdamW(lr=3e-3)], epochs=8).to_json())
        True
    """

    methods: tuple[Method, ...]
    epochs: float | None
    steps: int | None
    minutes: float | None
    batch_size: int
    micro_batch: int | None

    def __init__(
        self,
        methods: Iterable[Method] = (),
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        batch_size: int = 128,
        micro_batch: int | None = None,
    ) -> None:
        given = {
            "epochs": checked("epochs", epochs, float | None, {"above": 0}),
            "steps": checked("steps", steps, int | None, {"low": 1}),
            "minutes": checked("minutes", minutes, float | None, {"above": 0}),
            "batch_size": checked("batch_size", batch_size, int, {"low": 1}),
            "micro_batch": checked("micro_batch", micro_batch, int | None, {"low": 1, "high": batch_size}),
        }
        budgets = [name for name in ("epochs", "steps", "minutes") if given[name] is not None]
        if len(budgets) != 1:
            raise BadRecipe(f"a recipe has one budget: give epochs, steps or minutes, not {budgets or 'none'}")
        for name, value in {"methods": _ordered(methods), **given}.items():
            object.__setattr__(self, name, value)

    @property
    def budget(self) -> str:
        """The budget in words, such as '8 epochs'."""
        name = next(n for n in ("epochs", "steps", "minutes") if getattr(self, n) is not None)
        return f"{getattr(self, name):g} {name}"

    @property
    def hash(self) -> str:
        """Twelve characters that name this content."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def plus(self, *methods: Method) -> Recipe:
        """This recipe with methods added; one of the same class is replaced."""
        added = {type(m) for m in methods}
        return self.replace(methods=(*(m for m in self.methods if type(m) not in added), *methods))

    def minus(self, *names: str) -> Recipe:
        """This recipe without the methods of these names."""
        for name in names:
            if name not in {type(m).__name__ for m in self.methods}:
                raise unknown("method in this recipe called", name, (type(m).__name__ for m in self.methods))
        return self.replace(methods=tuple(m for m in self.methods if type(m).__name__ not in names))

    def replace(self, **changes: Any) -> Recipe:
        """This recipe with fields changed; a new budget takes the place of the old one."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if {"epochs", "steps", "minutes"} & changes.keys():
            fields |= {"epochs": None, "steps": None, "minutes": None}
        return Recipe(**(fields | changes))

    def get(self, slot: str) -> Method | None:
        """The method that fills `slot`, if any."""
        return next((m for m in self.methods if m.slot == slot), None)

    def to_dict(self) -> dict[str, Any]:
        """The content as JSON sees it."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        methods = {type(m).__name__: m.to_dict() for m in self.methods}
        given = {name: value for name, value in fields.items() if value is not None}
        return json.loads(json.dumps({"halftime": FORMAT, **given, "methods": methods}))  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """The content as text, for a file."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the recipe to a JSON file, whole or not at all."""
        replace(Path(path), self.to_json().encode())

    @classmethod
    def from_dict(cls, content: Any, known: Iterable[type[Method]] = (), strangers: bool = False) -> Recipe:
        """Read what `to_dict` made.

        Args:
            content: the data.
            known: method classes besides halftime's own.
            strangers: keep a method whose class is not at hand as data, to read old records.
        """
        from halftime.methods import ALL  # late: methods stand above this file

        if not isinstance(content, Mapping) or not isinstance(content.get("methods"), Mapping):
            raise BadRecipe(f'a recipe is an object with "methods" and a budget, not {shorten(content)}')
        version = content.get("halftime", FORMAT)
        if not isinstance(version, int) or version > FORMAT:
            raise BadRecipe(f"this recipe is of format {shorten(version)}, newer than {FORMAT}: update halftime")
        for name in content:
            if name not in _FIELDS:
                raise unknown("field of a recipe called", str(name), _FIELDS)
        classes = {c.__name__: c for c in (*ALL, *known)}
        methods = []
        for name, values in content["methods"].items():
            if not isinstance(values, Mapping):
                raise BadValue(f'{name} must be an object such as {{"lr": 0.003}}, not {shorten(values)}')
            if name not in classes and strangers:
                fields = [(field, Any, dataclasses.field(default=None)) for field in values]
                classes[name] = dataclasses.make_dataclass(name, fields, bases=(Method,), frozen=True)
            if name not in classes:
                raise unknown("method", str(name), classes)
            methods.append(classes[name].from_dict(values))
        return cls(methods, **{n: v for n, v in content.items() if n not in ("halftime", "methods")})

    @classmethod
    def from_json(cls, text: str, known: Iterable[type[Method]] = ()) -> Recipe:
        """Read what `to_json` made; a key given twice is refused, none is ignored."""
        try:
            content = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise BadRecipe(f"this is not JSON: {error}") from None
        return cls.from_dict(content, known)

    def __str__(self) -> str:
        return (
            f"{' + '.join(type(m).__name__ for m in self.methods) or 'empty'}, {self.budget}, batch {self.batch_size}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for i, (name, _) in enumerate(pairs):
        if name in {n for n, _ in pairs[:i]}:
            raise BadRecipe(f"{shorten(name)} is given twice: keep one")
    return dict(pairs)


def _ordered(methods: Iterable[Any]) -> tuple[Method, ...]:
    """Sort by `after`, then by name; refuse two of a class or of a slot, naming both."""
    if isinstance(methods, (Method, str)) or not isinstance(methods, Iterable):
        raise BadValue(f"methods must be a list such as [AdamW(lr=0.003)], not {shorten(methods)}")
    given: dict[str, Method] = {}
    slots: dict[str, str] = {}
    for method in methods:
        name = type(method).__name__
        if not isinstance(method, Method):
            hint = f"; did you mean {method.__name__}()?" if isinstance(method, type) else ""
            raise BadValue(f"methods must hold methods, not {shorten(method)}{hint}")
        if name in given:
            raise BadRecipe(f"{name} is there twice: keep one")
        if method.slot and method.slot in slots:
            raise BadRecipe(f"{slots[method.slot]} and {name} are both {method.slot} methods: keep one")
        given[name] = method
        slots[method.slot] = name
    names = given.keys() | {s: n for s, n in slots.items() if s}
    before = {n: {slots.get(a, a) for a in m.after if a in names} for n, m in sorted(given.items())}
    sorter = graphlib.TopologicalSorter(before)
    sorter.prepare()
    result: list[Method] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        result += [given[n] for n in ready]
        sorter.done(*ready)
    return tuple(result)
