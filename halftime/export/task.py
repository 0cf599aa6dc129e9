"""The workload as statements: its data, network, loss and score, from the function or the file that makes it."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from halftime.data.feed import Tensors
from halftime.errors import BadWorkload
from halftime.export.bundle import Bundle
from halftime.export.modules import FUNCTIONS, USER, Definition, Module, inside, meaning, read, stores
from halftime.workload import Workload

READ = ("workload", "methods", "recipe")  # what the command line looks for in a user's file
RESERVED = frozenset(
    (
        "model",
        "network",
        "optimizer",
        "feed",
        "train",
        "valid",
        "device",
        "step",
        "progress",
        "factor",
        "inputs",
        "targets",
        "outputs",
        "loss",
        "score",
        "sample",
        "update",
        "group",
        "base",
        "rates",
        "batch",
        "stream",
        "weights",
        "compute_loss",
        "part",
        "wanted",
        "share",
        "event",
    )
)  # variables of `main`
ATOMS = (ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.Tuple, ast.List, ast.Dict, ast.Subscript)


@dataclasses.dataclass
class Task:
    """The workload's side of `main`."""

    before: list[str]  # statements that the data sets need
    train: str
    valid: str
    model: str
    loss: str
    score: str


@dataclasses.dataclass(frozen=True)
class _Given:
    """An argument: its tree, and what the names in it stand for."""

    module: Module
    node: ast.expr
    names: Mapping[str, str]
    values: Mapping[str, _Given]


class _Names(Mapping[str, str]):
    """What names stand for inside a function: arguments are written out when they are asked for, locals stay."""

    def __init__(self, reader: Reader, values: Mapping[str, _Given], local: set[str]) -> None:
        self.reader, self.values_, self.local = reader, values, local

    def __getitem__(self, name: str) -> str:
        return name if name in self.local else self.reader._render(self.values_[name])

    def __iter__(self) -> Iterator[str]:
        return iter({*self.values_, *self.local})

    def __len__(self) -> int:
        return len({*self.values_, *self.local})

    def __contains__(self, name: object) -> bool:
        return name in self.local or name in self.values_


class Reader:
    """Takes a workload apart.

    Args:
        bundle: carries what it needs.
        workload: as it was made; tells what cannot be read off the source.
        source: where it was made: a built-in name, or the name of the module of a user's file.
    """

    def __init__(self, bundle: Bundle, workload: Workload, source: str) -> None:
        self.bundle, self.workload = bundle, workload
        self.before: list[str] = []
        self.local: set[str] = set()  # variables that these statements make
        if source.startswith(USER):
            self.module, self.start = read(source), self._written(read(source))
        else:
            from halftime.workloads import ALL

            self.module = read(f"halftime.workloads.{ALL[source].module}")
            self.start = ast.parse(f"{source}()", mode="eval").body

    def run(self) -> Task:
        """The statements; where the source is too free for that, the workload is made as it was."""
        self.bundle.section = "data"
        if self.module.name.startswith(USER):
            self._keep_statements()
        fields = self._reduced(_Given(self.module, self.start, {}, {}))
        if fields is None or any(self._uses_locals(fields[name]) for name in ("loss", "score")):
            self.before = []
            whole = self.bundle.whole("workload", self._made())
            made = {name: f"{whole}.{name}" for name in ("train", "valid", "loss", "score")}
            sets = {name: self._dataset(name, made[name], None) for name in ("train", "valid")}
            return Task(self.before, **sets, model=f"{whole}.model()", loss=made["loss"], score=made["score"])
        sets = {name: self._dataset(name, self._render(fields[name]), fields[name].node) for name in ("train", "valid")}
        self.bundle.section = "network"
        model = self._called(fields["model"])
        self.bundle.section = "loss"
        loss = self._once("criterion", fields["loss"])
        self.bundle.section = "evaluation"
        return Task(self.before, **sets, model=model, loss=loss, score=self._once("metric", fields["score"]))

    def _uses_locals(self, given: _Given) -> bool:
        """Whether an expression needs variables of `main`, where evaluation, a function of its own, cannot see them."""
        tree = ast.parse(self._render(given), mode="eval")
        return any(isinstance(node, ast.Name) and node.id in self.local for node in ast.walk(tree))

    def _once(self, name: str, given: _Given) -> str:
        """What is called for each batch; an object that an expression makes is made once, under a name of its own."""
        text = self._render(given)
        node: ast.expr = ast.parse(text, mode="eval").body
        while isinstance(node, ast.Attribute):
            node = node.value
        return text if isinstance(node, (ast.Name, ast.Lambda)) else self.bundle.whole(name, text)

    def _made(self) -> str:
        """The expression that makes the whole workload; that of a built-in one stands in no file."""
        if self.module.name.startswith(USER):
            return self._render(_Given(self.module, self.start, {}, {}))
        return f"{self.bundle.name(self.module.name, ast.unparse(self.start).removesuffix('()'))}()"

    def _written(self, module: Module) -> ast.expr:
        """What a user's file assigns to `workload`."""
        node = module.bindings.get("workload")
        value = getattr(node, "value", None)
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or value is None:
            raise BadWorkload(
                f"{module.name.removeprefix(USER)}: assign `workload` at the top of the file, to export it"
            )
        return value  # type: ignore[no-any-return]

    def _keep_statements(self) -> None:
        """Everything that the user's file does as it is read, in its order, without what only halftime looks for."""
        kept = []
        for node in self.module.tree.body:
            names = {n for n, other in self.module.bindings.items() if other is node}
            defines = isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom))
            told = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guard = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
            if not (defines or told or guard or names & set(READ)):
                kept.append(node)
        self.bundle.statements(self.module, kept)

    def _reduced(self, given: _Given) -> Mapping[str, _Given] | None:
        """The arguments of `Workload`, followed through functions that end in a call of it."""
        node = given.node
        if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
            return None
        found = self._meaning(given.module, node.func)
        if found is None or any(k.arg is None for k in node.keywords):
            return None
        if found == Definition("halftime.workload", "Workload"):
            return {str(k.arg): dataclasses.replace(given, node=k.value) for k in node.keywords}
        target = read(found.module).bindings.get(found.name)
        if not isinstance(target, ast.FunctionDef) or found.module != self.module.name:
            return None
        return self._through(given, node, target)

    def _through(self, given: _Given, node: ast.Call, target: ast.FunctionDef) -> Mapping[str, _Given] | None:
        """Go on inside a function that is called with these arguments."""
        body = [s for s in target.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        *before, last = body
        local = stores(before)
        if not isinstance(last, ast.Return) or last.value is None or local & (RESERVED - {"train", "valid"}):
            return None
        if not all(isinstance(s, (ast.Assign, ast.AnnAssign, ast.Expr)) for s in before):
            return None
        values = self._bound(given, node, target)
        names = _Names(self, values, local)
        self.local |= local
        for statement in before:
            self.before += self.bundle.render(self.module, statement, names).splitlines()
        return self._reduced(_Given(self.module, last.value, names, values))

    def _bound(self, given: _Given, node: ast.Call, target: ast.FunctionDef) -> dict[str, _Given]:
        """Each parameter of a function with its argument or default."""
        parameters = [a.arg for a in (*target.args.posonlyargs, *target.args.args)]
        found = {
            name: _Given(self.module, default, {}, {})
            for name, default in zip(reversed(parameters), reversed(target.args.defaults), strict=False)
        }
        found |= {
            a.arg: _Given(self.module, default, {}, {})
            for a, default in zip(target.args.kwonlyargs, target.args.kw_defaults, strict=True)
            if default is not None
        }
        found |= {name: dataclasses.replace(given, node=arg) for name, arg in zip(parameters, node.args, strict=False)}
        return found | {str(k.arg): dataclasses.replace(given, node=k.value) for k in node.keywords}

    def _meaning(self, module: Module, node: ast.expr) -> Definition | None:
        """What a dotted name means, if a file of ours defines it."""
        parts = ast.unparse(node).split(".") if isinstance(node, (ast.Name, ast.Attribute)) else [""]
        found: Any = meaning(module, parts[0])
        for part in parts[1:]:
            found = inside(found.module, part) if type(found).__name__ == "Ours" else None
        return found if isinstance(found, Definition) else None

    def _render(self, given: _Given) -> str:
        if isinstance(given.node, ast.Name) and given.node.id in given.values:
            return self._render(given.values[given.node.id])
        text = self.bundle.render(given.module, given.node, given.names)
        return text if isinstance(given.node, ATOMS) else f"({text})" if isinstance(given.node, ast.Lambda) else text

    def _called(self, given: _Given) -> str:
        """What calling a function without arguments gives."""
        node = given.node
        if isinstance(node, ast.Name) and node.id in given.values:
            return self._called(given.values[node.id])
        if not isinstance(node, ast.Lambda):
            return f"{self._render(given)}()"
        body = node.body
        if isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and not body.keywords:
            inner = given.values.get(body.func.id)
            if inner is not None and isinstance(inner.node, ast.Lambda):
                names = [a.arg for a in inner.node.args.args]
                texts = [self.bundle.render(given.module, a, given.names) for a in body.args]
                known = {**inner.names, **dict(zip(names, texts, strict=True))}
                return self.bundle.render(inner.module, inner.node.body, known)
        return self.bundle.render(given.module, body, given.names)

    def _dataset(self, which: str, text: str, node: ast.expr | None) -> str:
        """A data set as it is written; tensors become one."""
        if type(getattr(self.workload, which)) is not Tensors:
            return text
        if isinstance(node, ast.Tuple):
            inner = text.removeprefix("(").removesuffix(")").removesuffix(",")
            return f"{self.bundle.name('halftime.data.feed', 'Tensors')}({inner})"
        return f"{self.bundle.name('halftime.export.plain', 'as_dataset')}({text})"
