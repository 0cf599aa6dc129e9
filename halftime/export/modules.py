"""Source files as the exporter reads them: what their names mean, and what a piece of code takes from outside."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from halftime.errors import BadWorkload

USER = "halftime_user_"  # how the command line names the files that a user gave it
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclasses.dataclass(frozen=True)
class External:
    """An import that the script repeats: of a module, or of something in one."""

    module: str
    what: str | None
    bound: str  # the name it has in the code


@dataclasses.dataclass(frozen=True)
class Definition:
    """Something that a file of ours defines and the script carries."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Ours:
    """A module of ours; only what is in it can be carried."""

    module: str


Meaning = External | Definition | Ours


@dataclasses.dataclass(frozen=True, eq=False)
class Module:
    """One source file: its text, its tree, and the statement that binds each name at its top."""

    name: str
    text: str
    tree: ast.Module
    bindings: Mapping[str, ast.stmt]

    @functools.cached_property
    def lines(self) -> list[str]:
        """With their ends."""
        return self.text.splitlines(keepends=True)

    @functools.cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line))
        return starts

    def offset(self, line: int, column: int) -> int:
        """Where a place of the tree lies in the text; columns are counted in bytes."""
        return self._starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: Any) -> tuple[int, int]:
        """Where a node begins and ends in the text."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def statement(self, node: ast.stmt) -> tuple[int, int]:
        """Where a statement begins and ends, with its decorators, the comments above it and the one behind it."""
        first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
        while first > 1 and self.lines[first - 2].startswith(" " * node.col_offset + "#"):
            first -= 1
        return self._starts[first - 1], self._starts[node.end_lineno or first]


def ours(module: str) -> bool:
    """Whether a module is halftime's, or the user's file about the workload."""
    return module.split(".")[0] == "halftime" or module.startswith(USER)


def module_of(source: str) -> str:
    """The module that a user's file was loaded as; the name of a built-in workload as it is.

    Args:
        source: a built-in name, or a path that ends in .py.

    Raises:
        BadWorkload: the file was not loaded, or another one of its name was loaded later.
    """
    if not source.endswith(".py"):
        return source
    name = f"{USER}workload_{Path(source).stem}"
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None or Path(loaded).resolve() != Path(source).resolve():
        raise BadWorkload(f"{source} is not the file that the workload was loaded from")
    return name


def read(name: str) -> Module:
    """The source of an imported module."""
    module = sys.modules.get(name) or importlib.import_module(name)
    return _parsed(name, Path(str(module.__file__)).read_text())


@functools.cache
def _parsed(name: str, text: str) -> Module:
    tree = ast.parse(text)
    return Module(name, text, tree, dict(_bindings(tree.body)))


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _bindings(node.body)
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
        else:
            yield from (
                (n.id, node) for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            )


def meaning(module: Module, name: str) -> Meaning | None:
    """What a name at the top of a file means; None where the file does not bind it."""
    node = module.bindings.get(name)
    if isinstance(node, ast.Import):
        alias = next(a for a in node.names if (a.asname or a.name.split(".")[0]) == name)
        whole = alias.name if alias.asname else name
        return Ours(whole) if ours(whole) else External(alias.name, None, name)
    if isinstance(node, ast.ImportFrom):
        alias = next(a for a in node.names if (a.asname or a.name) == name)
        return inside(str(node.module), alias.name) if ours(str(node.module)) else External(
            str(node.module), alias.name, name
        )  # fmt: skip
    return None if node is None else Definition(module.name, name)


def inside(module: str, name: str) -> Meaning | None:
    """What a name in a module of ours means, wherever it comes from."""
    source = read(module)
    if name in source.bindings and module != "halftime":
        return meaning(source, name)
    menu = sys.modules[module]._MENU if module == "halftime" else {}
    if name in menu:
        return inside(f"halftime.{menu[name]}", name)
    package = hasattr(sys.modules[module], "__path__")
    return Ours(f"{module}.{name}") if package and importlib.util.find_spec(f"{module}.{name}") else None


@dataclasses.dataclass(frozen=True)
class Use:
    """A name that a piece of code takes from outside, with the attributes that follow it, outermost last."""

    node: ast.Name
    chain: tuple[ast.Attribute, ...]
    note: bool  # in an annotation, which is never evaluated


class Uses(ast.NodeVisitor):
    """Finds the names that a piece of code takes from outside it, and those it binds."""

    def __init__(self, free: frozenset[str] = frozenset()) -> None:
        self.free = free
        self.found: list[Use] = []
        self.bound: set[str] = set()
        self._scopes: list[set[str]] = []
        self._note = False

    @classmethod
    def of(cls, *nodes: ast.AST, free: frozenset[str] = frozenset()) -> Uses:
        """Of some nodes; the arguments in `free` count as coming from outside."""
        uses = cls(free)
        for node in nodes:
            uses.visit(node)
        return uses

    def visit_Name(self, node: ast.Name) -> None:
        self._name(node, ())

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, root = [node], node.value
        while isinstance(root, ast.Attribute):
            chain, root = [root, *chain], root.value
        self._name(root, tuple(chain)) if isinstance(root, ast.Name) else self.visit(root)

    def _name(self, node: ast.Name, chain: tuple[ast.Attribute, ...]) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        elif not any(node.id in scope for scope in self._scopes):
            self.found.append(Use(node, chain, self._note))

    def _noted(self, *nodes: ast.AST | None) -> None:
        before, self._note = self._note, True
        for node in nodes:
            if node is not None:
                self.visit(node)
        self._note = before

    def _scope(self, names: set[str], nodes: Iterable[ast.AST]) -> None:
        self.bound |= names
        self._scopes.append(names)
        for node in nodes:
            self.visit(node)
        self._scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.bound.add(node.name)
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        self._noted(node.returns, *(a.annotation for a in _arguments(node.args)))
        given = {a.arg for a in _arguments(node.args)} - self.free
        self._scope(given | stores(node.body), node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in (*node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        self._scope({a.arg for a in _arguments(node.args)}, [node.body])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._noted(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords, *node.body):
            self.visit(part)

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, COMPREHENSIONS):
            super().generic_visit(node)
            return
        names = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        self._scope(names, ast.iter_child_nodes(node))


def _arguments(given: ast.arguments) -> list[ast.arg]:
    extra = [a for a in (given.vararg, given.kwarg) if a is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]


def stores(body: Iterable[ast.AST]) -> set[str]:
    """Names that statements bind in their own scope."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {a.asname or a.name.split(".")[0] for a in node.names}
        elif not isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
            found |= {node.name} if isinstance(node, ast.ExceptHandler) and node.name else set()
            found |= stores(ast.iter_child_nodes(node))
        else:
            found |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
    return found
