"""What a script carries: definitions cut out of their files, each once, under one name, with the imports they need."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from halftime.errors import BadRecipe, HalftimeError, InputError
from halftime.export.edits import Edits, applied
from halftime.export.modules import (
    FUNCTIONS,
    Definition,
    External,
    Module,
    Ours,
    Use,
    Uses,
    inside,
    meaning,
    ours,
    read,
)
from halftime.export.stand_ins import STAND_INS
from halftime.export.tidy import joined
from halftime.export.words import described

TOKEN = re.compile(r"__carried_(\d+)__")  # stands for a definition's name until all names are known


@dataclasses.dataclass
class Piece:
    """One definition as the script has it."""

    section: str
    text: str
    needs: list[int]  # other pieces, which stand above it where they are of the same section
    eager: set[int]  # those that must stand above it wherever they are


class Bundle:
    """Collects what a script carries.

    Args:
        chosen: definitions to take in place of others, by (module, name).
        dropped: (class, function in it) of ours that nothing in the script calls.
    """

    def __init__(
        self, chosen: Mapping[tuple[str, str], tuple[str, str]], dropped: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self.chosen = {**STAND_INS, **chosen}
        self.dropped = dropped
        self.numbers: dict[Definition, int] = {}
        self.pieces: dict[int, Piece] = {}
        self.imports: set[External] = set()
        self.bound: set[str] = set()  # every name that some piece binds for itself
        self.constants: dict[str, tuple[Any, str, Any]] = {}  # name -> (method, field, value)
        self.section = ""
        self._notes: list[tuple[str, Definition]] = []
        self._needs: list[set[int]] = [set()]

    def name(self, module: str, name: str) -> str:
        """What stands for a definition in the text of the script; the definition is carried from now on."""
        found = inside(module, name)
        assert isinstance(found, Definition), (module, name)
        return self._carry(found)

    def render(self, module: Module, node: ast.AST, names: Mapping[str, str] | None = None, method: Any = None) -> str:
        """The text of an expression or statement with its outside names made the script's.

        Args:
            module: where it stands.
            node: of that file's tree.
            names: what to write for names that are arguments of the function around it.
            method: the method whose fields `self` gives, if any.
        """
        edits = Edits(self, module, names or {}, method)
        edits.add(node)
        begin, end = module.statement(node) if isinstance(node, ast.stmt) else module.span(node)
        text = applied(module.text, begin, end, edits.made)
        if isinstance(node, ast.stmt):
            return textwrap.dedent(text).strip("\n")
        return joined(text) if "\n" in text else text

    def constant(self, method: Any, field: str) -> str:
        """The name at the top of the script for one field of a method."""
        name = f"{stem(type(method))}_{field}".upper()
        self.constants[name] = (method, field, getattr(method, field))
        return name

    def _carry(self, what: Definition) -> str:
        module, name = what.module, what.name
        if (module, name) in self.chosen:
            target = self.chosen[module, name]
            if not target[0]:
                return target[1]
            if not ours(target[0]):
                self.imports.add(External(*target, target[1]))
                return target[1]
            return self._carry(Definition(*target))
        if module == "halftime.errors" and (builtin := _builtin(name)):
            return builtin
        if what not in self.numbers:
            self._cut(what)
        self._needs[-1].add(self.numbers[what])
        return f"__carried_{self.numbers[what]}__"

    def _cut(self, what: Definition) -> None:
        """Take a definition out of its file; a statement that binds several names is taken once."""
        module = read(what.module)
        node = module.bindings[what.name]
        if isinstance(node, ast.ClassDef) and _is_method(what):
            raise BadRecipe(f"{what.name} cannot be exported: a part of it is handed the method itself, not its fields")
        own = [Definition(what.module, name) for name, other in module.bindings.items() if other is node]
        for one in own:
            self.numbers[one] = len(self.numbers)
        first, *others = [self.numbers[one] for one in own]
        self._needs.append(set())
        self.pieces[first] = Piece(self.section, "", [], set())
        text = self.render(module, node)
        needs = self._needs.pop() - {self.numbers[one] for one in own}
        self.bound |= Uses.of(node).bound - {one.name for one in own}
        eager = {self.numbers[d] for d in self.numbers if self.numbers[d] in needs and _eager(module, node, d)}
        self.pieces[first] = Piece(self.section, text, sorted(needs), eager)
        for number in others:
            self.pieces[number] = Piece(self.section, "", [first], {first})

    def function(self, name: str, module: Module, node: ast.FunctionDef, method: Any) -> str:
        """Carry what a method does in a place as a function of its own; returns what stands for its name."""
        number = self.numbers.setdefault(Definition("", name), len(self.numbers))
        self._needs.append(set())
        text = self.render(module, node, method=method)
        needs = self._needs.pop()
        text = re.sub(r"^def \w+\(self(?:, )?", f"def __carried_{number}__(", text)
        head, body = text.split(":\n", 1)
        for unasked in (a.arg for a in node.args.args if a.arg not in uses(node)):
            head = re.sub(rf"(, )?\b{unasked}: [\w.]+", "", head).replace("(, ", "(")
        gap = "\n" if body.lstrip().startswith(("def ", "class ", "@")) else ""
        text = f'{head}:\n    """{described(type(method))}."""\n{gap}{body}'
        self.pieces[number] = Piece(self.section, text, sorted(needs), set())
        self.bound |= Uses.of(node).bound
        self._needs[-1].add(number)
        return f"__carried_{number}__"

    def use(self, module: Module, use: Use) -> tuple[ast.expr, str] | None:
        """What to write for a name: (the expression it takes the place of, text), or None to leave it."""
        found, node = meaning(module, use.node.id), use.node
        chain = list(use.chain)
        expression: ast.expr = node
        while isinstance(found, Ours):
            if not chain:
                raise BadRecipe(
                    f"{module.name}, line {node.lineno}: {node.id} is a module of halftime: use what is in it"
                )
            expression = chain.pop(0)
            found = inside(found.module, expression.attr)
        if isinstance(found, External):
            self.imports.add(found)
        if not isinstance(found, Definition):
            return None
        if use.note and not _is_alias(found):
            target = Definition(*self.chosen.get((found.module, found.name), (found.module, found.name)))
            if target in self.numbers:
                return expression, f"__carried_{self.numbers[target]}__"
            self.imports.add(External("typing", "Any", "Any"))  # not worth carrying for an annotation's sake
            return expression, "Any"
        return expression, self._carry(found)

    def whole(self, name: str, text: str) -> str:
        """Carry an assignment that may need everything that was carried before it."""
        number = self.numbers.setdefault(Definition("", name), len(self.numbers))
        self.pieces[number] = Piece("evaluation", f"__carried_{number}__ = {text}", list(self.pieces), set())
        return f"__carried_{number}__"

    def statements(self, module: Module, nodes: Iterable[ast.stmt]) -> None:
        """Carry statements at the top of a file, in their order."""
        before: int | None = None
        for node in nodes:
            names = [n for n, other in module.bindings.items() if other is node]
            if names:
                self._carry(Definition(module.name, names[0]))
                number = self.numbers[Definition(module.name, names[0])]
            else:
                number = self.numbers.setdefault(Definition(module.name, f"line {node.lineno}"), len(self.numbers))
                self._needs.append(set())
                text, needs = self.render(module, node), self._needs.pop()
                eager = {self.numbers[d] for d in self.numbers if self.numbers[d] in needs and _eager(module, node, d)}
                self.pieces[number] = Piece(self.section, text, sorted(needs), eager)
            if before is not None:
                self.pieces[number].needs.append(before)
                self.pieces[number].eager.add(before)
            before = number


def uses(node: ast.FunctionDef) -> set[str]:
    """The arguments that a function makes use of."""
    names = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name)}
    return names & {a.arg for a in node.args.args}


def stem(kind: type) -> str:
    """How the script calls a method's parts: by its file, or by its class where the file is the user's."""
    module = kind.__module__.split(".")[-1]
    return (
        module
        if kind.__module__.startswith("halftime.methods.")
        else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
    )


def _builtin(name: str) -> str:
    """What Python has in the place of one of our errors."""
    errors = importlib.import_module("halftime.errors")
    kind = getattr(errors, name)
    if not (isinstance(kind, type) and issubclass(kind, HalftimeError)):
        return ""
    return "ValueError" if issubclass(kind, InputError) else "OSError" if name == "StorageError" else "RuntimeError"


def _is_method(what: Definition) -> bool:
    from halftime.places import Method

    found = getattr(importlib.import_module(what.module), what.name, None)
    return isinstance(found, type) and issubclass(found, Method)


def _is_alias(what: Definition) -> bool:
    """Whether a definition is a name for a type."""
    return what.module != "halftime.data.feed" and isinstance(read(what.module).bindings[what.name], ast.Assign)


def _eager(module: Module, node: ast.stmt, needed: Definition) -> bool:
    """Whether a statement needs a definition when it is read, and not only when it is called."""
    if isinstance(node, FUNCTIONS):
        parts: list[Any] = [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
    elif isinstance(node, ast.ClassDef):
        inner = [s for s in node.body if not isinstance(s, FUNCTIONS)]
        parts = [*node.decorator_list, *node.bases, *inner]
        parts += [d for s in node.body if isinstance(s, FUNCTIONS) for d in s.decorator_list]
    else:
        parts = [node]
    for use in Uses.of(*parts).found:
        found = meaning(module, use.node.id)
        if not use.note and (found == needed or isinstance(found, Ours)):
            return True
    return False
