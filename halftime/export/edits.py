"""Changes to one piece of source on its way into a script, collected from its tree."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.errors import BadRecipe
from halftime.export.folding import decided
from halftime.export.modules import FUNCTIONS, USER, Definition, External, Module, Use, Uses
from halftime.export.tidy import without_examples, without_pragmas
from halftime.export.words import literal
from halftime.places import Places

if TYPE_CHECKING:
    from halftime.export.bundle import Bundle

Edit = tuple[int, int, str]


class Edits:
    """Changes to one piece of source, collected from its tree."""

    def __init__(self, bundle: Bundle, module: Module, names: Mapping[str, str], method: Any) -> None:
        self.bundle, self.module, self.names, self.method = bundle, module, names, method
        self.made: list[Edit] = []

    def add(self, node: ast.AST) -> None:
        """Everything that changes in a node."""
        gone: list[ast.AST] = []
        self._renamed(node)
        for part in ast.walk(node):
            if isinstance(part, ast.ClassDef):
                gone += self._class(part)
            if isinstance(part, (*FUNCTIONS, ast.ClassDef)):
                self._docstring(part)
        if self.method is not None:
            gone += self._folded(node)
        inside_gone = {id(n) for g in gone for n in ast.walk(g)}
        free = frozenset({"self"} if self.method is not None else ())
        for use in Uses.of(*([] if node in gone else [node]), free=free).found:
            if id(use.node) not in inside_gone:
                self._use(use)

    def _renamed(self, node: ast.AST) -> None:
        """A definition that is carried gets its name in the script."""
        if self.method is not None or self.module.bindings.get(getattr(node, "name", "")) is not node:
            targets = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            for target in targets if node in self.module.tree.body else ():
                number = self.bundle.numbers.get(Definition(self.module.name, target.id))
                if number is not None:
                    self._replace(target, f"__carried_{number}__")
            return
        name = str(getattr(node, "name", ""))
        begin = self.module.text.index(name, self.module.span(node)[0] + 4)
        number = self.bundle.numbers[Definition(self.module.name, name)]
        self.made.append((begin, begin + len(name), f"__carried_{number}__"))

    def _use(self, use: Use) -> None:
        name = use.node.id
        if name == "self" and self.method is not None:
            if not use.chain:
                fields = ", ".join(f"{f}={self.bundle.constant(self.method, f)}" for f in self.method.to_dict())
                self.bundle.imports.add(External("types", "SimpleNamespace", "SimpleNamespace"))
                return self._replace(use.node, f"SimpleNamespace({fields})")
            field = use.chain[0].attr
            if field not in self.method.to_dict():
                raise BadRecipe(f"{type(self.method).__name__} cannot be exported: a place of it uses self.{field}")
            return self._replace(use.chain[0], self.bundle.constant(self.method, field))
        if name == "__file__" and self.module.name.startswith(USER):
            return self._replace(use.node, literal(str(Path(str(sys.modules[self.module.name].__file__)).resolve())))
        if name in self.names:
            return self._replace(use.node, self.names[name])
        change = self.bundle.use(self.module, use)
        return self._replace(*change) if change else None

    def _replace(self, node: ast.expr, text: str) -> None:
        self.made.append((*self.module.span(node), text))

    def _class(self, node: ast.ClassDef) -> list[ast.AST]:
        """Leave out what belongs to records and checkpoints, and a base that only has places."""
        places = [b for b in node.bases if ast.unparse(b).split(".")[-1] == "Places"]
        if not places:
            own = [n for n in node.bases if isinstance(n, ast.Name)]
            places_above = any(_acts(self.module, b.id) for b in own)
        else:
            begin = self.module.text.index("(", self.module.offset(node.lineno, node.col_offset))
            self.made.append((begin, self.module.span(places[-1])[1] + 1, ""))
            places_above = True
        gone: list[ast.AST] = [*places]
        for part in node.body:
            record = places_above and getattr(part, "name", "") in ("state_dict", "load_state_dict")
            if isinstance(part, FUNCTIONS) and (record or (node.name, part.name) in self.bundle.dropped):
                begin, end = self.module.statement(part)
                self.made.append((len(self.module.text[:begin].rstrip()) + 1, end, ""))
                gone.append(part)
        return gone

    def _docstring(self, node: Any) -> None:
        first = node.body[0]
        if ast.get_docstring(node, clean=False) and isinstance(first, ast.Expr):
            begin, end = self.module.span(first)
            old = self.module.text[begin:end]
            if (new := without_examples(old)) != old:
                self.made.append((begin, end, new))

    def _folded(self, node: ast.AST) -> list[ast.AST]:
        """Decide what the fields of a method decide: branches that are never taken are left out."""
        gone: list[ast.AST] = []
        for part in ast.walk(node):
            if any(part is n for g in gone for n in ast.walk(g)):
                continue
            if isinstance(part, ast.IfExp) and (known := decided(part.test, self.method)) is not None:
                kept = part.body if known[0] else part.orelse
                (begin, end), (first, last) = self.module.span(part), self.module.span(kept)
                self.made += [(begin, first, ""), (last, end, "")]
                gone += [part.test, part.orelse if known[0] else part.body]
                self._unwrapped(begin, end)
            elif isinstance(part, (ast.Compare, ast.BoolOp)) and (known := decided(part, self.method)) is not None:
                self._replace(part, repr(known[0]))
                gone.append(part)
        return gone

    def _unwrapped(self, begin: int, end: int) -> None:
        """Drop the brackets around a choice that is no choice any more."""
        text = self.module.text
        before, after = text[:begin].rstrip(), text[end:].lstrip()
        if before.endswith(("return (", "= (")) and after.startswith(")"):
            self.made += [(len(before) - 1, begin, ""), (end, len(text) - len(after) + 1, "")]


def applied(text: str, begin: int, end: int, edits: Iterable[Edit]) -> str:
    """A part of a text with changes made; one inside another is dropped."""
    result, at = [], begin
    for first, last, new in sorted(set(edits), key=lambda e: (e[0], -e[1])):
        if first >= at and last <= end:
            result += [text[at:first], new]
            at = last
    return without_pragmas("".join([*result, text[at:end]]))


def _acts(module: Module, name: str) -> bool:
    """Whether a class of this name acts in places."""
    found = getattr(importlib.import_module(module.name), name, None)
    return isinstance(found, type) and issubclass(found, Places)
