"""What the methods of a recipe do, as statements of a plain loop: each place by the code that the method has there."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence

from halftime.errors import BadRecipe
from halftime.export.bundle import Bundle, stem, uses
from halftime.export.folding import decided
from halftime.export.modules import FUNCTIONS, External, Module, read
from halftime.export.setup import SetUp
from halftime.export.special import SPECIAL
from halftime.notes import Beforehand
from halftime.places import PLACES, Method, Places, overrides

LOOP = PLACES[PLACES.index("lr_factor") :]
SECTIONS = {  # of the script, in which what a place needs is defined
    "data": "data", "batch": "data", "model": "network", "init": "network", "loss": "loss", "optimizer": "optimizer",
    "lr_factor": "schedule", "evaluating": "evaluation", "evaluated": "evaluation",
}  # fmt: skip


@dataclasses.dataclass
class Acts:
    """Statements and expressions of `main`, by place."""

    once: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # data, model, init, loss, optimizer, start
    loss: str = ""  # the training loss, called with outputs and targets
    factors: list[str] = dataclasses.field(default_factory=list)
    batch: list[str] = dataclasses.field(default_factory=list)
    forward: list[str] = dataclasses.field(default_factory=list)
    update: str = ""
    attempts: list[str] = dataclasses.field(default_factory=list)
    after_step: list[str] = dataclasses.field(default_factory=list)
    evaluating: list[str] = dataclasses.field(default_factory=list)
    evaluated: list[str] = dataclasses.field(default_factory=list)
    events: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Code:
    """Statements, and the expression that is their result."""

    before: list[str]
    result: str
    node: ast.expr | None = None


class Translator:
    """Translates methods one by one.

    Args:
        bundle: carries what they need.
        live: the same recipe set up in this process: it tells which class acts in the loop.
        loss: the workload's own loss.
    """

    def __init__(self, bundle: Bundle, live: SetUp, loss: str) -> None:
        self.bundle, self.live = bundle, live
        self.acts = Acts({place: [] for place in ("data", "model", "init", "optimizer", "start", "loss")}, loss)

    def run(self) -> Acts:
        """All of them, in the order in which a run reaches them."""
        for place in ("data", "model", "init", "loss", "optimizer"):
            self.bundle.section = SECTIONS[place]
            for method in self.live.methods:
                if overrides(method, place):
                    getattr(self, f"_{place}")(method)
        for method, acting in zip(self.live.methods, self.live.acting, strict=True):
            self.bundle.section = "steps"
            self._started(method, acting, self._start(method, acting))
        for method, acting in zip(self.live.methods, self.live.acting, strict=True):
            if isinstance(acting, Beforehand):  # in a run the first step does it, before its batch is made
                self.acts.once["start"].append(f"{stem(type(method))}.lr_factor(0.0)")
        return self.acts

    def _data(self, method: Method) -> None:
        code = self._code(method, "data", ["feed"])
        self.acts.once["data"] += [*code.before, *([] if code.result == "feed" else [f"feed = {code.result}"])]

    def _model(self, method: Method) -> None:
        code = self._code(method, "model", ["model"])
        self.acts.once["model"] += [*code.before, *([] if code.result == "model" else [f"model = {code.result}"])]

    def _init(self, method: Method) -> None:
        code = self._code(method, "init", ["model", "sample"])
        self.acts.once["init"] += [*code.before, code.result]

    def _loss(self, method: Method) -> None:
        code = self._code(method, "loss", [self.acts.loss, "model"])
        name = f"{stem(type(method))}_loss"
        if isinstance(code.node, ast.Lambda):
            arguments, body = code.result.removeprefix("lambda ").split(": ", 1)
            self.acts.once["loss"] += [*code.before, "", f"def {name}({arguments}):", f"    return {body}", ""]
            self.acts.loss = name
        elif code.result != self.acts.loss:
            self.acts.once["loss"] += [*code.before, f"{name} = {code.result}"]
            self.acts.loss = name

    def _optimizer(self, method: Method) -> None:
        code = self._code(method, "optimizer", ["model", "optimizer"])
        self.acts.once["optimizer"] += [*code.before, f"optimizer = {code.result}"]

    def _start(self, method: Method, acting: Places) -> str:
        """Emit what a method does before the first step; the variable that acts in the loop, if it is not itself."""
        if type(method).start is Method.start:
            return ""
        quiet = not any(overrides(acting, place) for place in LOOP if place != "events")
        if quiet and not isinstance(acting, Method) and not self._in_place(method):
            return ""  # it only tells the record something
        if acting is method and self._returns_itself(method):
            return ""
        code = self._code(method, "start", ["model", "optimizer", "feed"])
        self.acts.once["start"] += code.before
        if isinstance(acting, Method):
            return ""
        if quiet:
            self.acts.once["start"] += self._told(method, code)
            return ""
        name = stem(type(method))
        self.acts.once["start"].append(f"{name} = {code.result}")
        return name

    def _told(self, method: Method, code: Code) -> list[str]:
        """Notes that change something as they are made are printed."""
        node = code.node
        if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.args[0], ast.List):
            module = read(type(method).__module__)
            names = self._names(method, "start", ["model", "optimizer", "feed"])
            return [f"print({self.bundle.render(module, part, names, method)})" for part in node.args[0].elts]
        raise BadRecipe(f"{type(method).__name__} cannot be exported: its notes are no list of texts")

    def _in_place(self, method: Method) -> bool:
        """Whether its start calls something that changes what it is given: by custom, its name ends with a line."""
        _, node = self._node(method, "start")
        calls = [ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)]
        return any(call.endswith("_") and not call.endswith("__") for call in calls)

    def _returns_itself(self, method: Method) -> bool:
        """Whether all that its start does, with these settings, is to give the method itself."""
        _, node = self._node(method, "start")
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        value = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
        chosen = _chosen(value, method) if value is not None else None
        return isinstance(chosen, ast.Name) and chosen.id == node.args.args[0].arg

    def _started(self, method: Method, acting: Places, name: str) -> None:
        """What acts in each step and around evaluation."""
        given = {
            "lr_factor": ["progress"], "batch": ["inputs", "targets", "progress"], "forward": [],
            "after_step": ["progress"], "evaluating": [], "evaluated": [self.live.signed("score")],
        }  # fmt: skip
        for place in LOOP:
            if not overrides(acting, place) or (not name and not isinstance(acting, Method)):
                continue
            if place == "lr_factor" and isinstance(acting, Beforehand):
                continue  # always 1: it is called before the loop
            self.bundle.section = SECTIONS.get(place, "steps")
            if place in ("update", "attempt"):
                whole = f"{name}.{place}" if name else self._function(method, place)
                self.acts.attempts += [whole] * (place == "attempt")
                self.acts.update = whole if place == "update" else self.acts.update
            elif place == "events":
                self.acts.events.append(f"{name}.events()" if name else "")
            else:
                code = Code([], f"{name}.{place}({', '.join(given[place])})")
                self._keep(place, code if name else self._code(method, place, given[place]))

    def _keep(self, place: str, code: Code) -> None:
        acts, result = self.acts, code.result
        if place == "batch":
            result = self._shorter(code) or f"inputs, targets = {result}"
        {"lr_factor": acts.factors, "batch": acts.batch, "forward": acts.forward, "after_step": acts.after_step,
         "evaluating": acts.evaluating, "evaluated": acts.evaluated}[place].extend([*code.before, result])  # fmt: skip

    def _shorter(self, code: Code) -> str:
        """Only the inputs are assigned where the targets stay."""
        whole = isinstance(code.node, ast.Tuple) and len(code.node.elts) == 2 and code.result.endswith(", targets")
        return f"inputs = {code.result.removesuffix(', targets')}" if whole else ""

    def _code(self, method: Method, place: str, given: Sequence[str]) -> Code:
        """What a method does in a place, as statements where it is simple, else as a call of a function."""
        module, node = self._node(method, place)
        made = SPECIAL.get(type(method).__name__, {}).get(place)
        if made is not None and type(method).__module__.startswith("halftime.methods."):
            return self._special(method, place, given, *made(method))
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        *before, last = body
        simple = isinstance(last, ast.Return) and all(isinstance(s, ast.Expr) for s in before)
        if place == "init" and all(isinstance(s, ast.Expr) for s in body):
            simple, before = True, body[:-1]
        value = getattr(last, "value", None)
        if not simple or value is None:
            asked = [text for a, text in zip(node.args.args[1:], given, strict=True) if a.arg in uses(node)]
            return Code([], f"{self._function(method, place)}({', '.join(asked)})")
        names = self._names(method, place, given)
        chosen = _chosen(value, method)
        statements = [self.bundle.render(module, s, names, method) for s in before]
        return Code(statements, self.bundle.render(module, value, names, method), chosen)

    def _special(self, method: Method, place: str, given: Sequence[str], text: str, library: str = "") -> Code:
        """A place that is written anew for the script, in the names of the method's own file."""
        file = read(type(method).__module__)
        self.bundle.imports |= {External(library, None, library.split(".")[0])} if library else set()
        tree = ast.parse(text)
        module = dataclasses.replace(file, text=text, tree=tree)
        (statement,) = tree.body
        assert isinstance(statement, ast.Expr)
        return Code([], self.bundle.render(module, statement.value, self._names(method, place, given), method))

    def _function(self, method: Method, place: str) -> str:
        module, node = self._node(method, place)
        return self.bundle.function(f"{stem(type(method))}_{place}", module, node, method)

    def _names(self, method: Method, place: str, given: Sequence[str]) -> Mapping[str, str]:
        _, node = self._node(method, place)
        return dict(zip([a.arg for a in node.args.args[1:]], given, strict=True))

    def _node(self, method: Method, place: str) -> tuple[Module, ast.FunctionDef]:
        """The source of what a method does in a place."""
        for kind in type(method).__mro__:
            if place in vars(kind):
                module = read(kind.__module__)
                found = module.bindings.get(kind.__name__)
                if not isinstance(found, ast.ClassDef) or "<locals>" in kind.__qualname__:
                    break
                return module, next(s for s in found.body if isinstance(s, FUNCTIONS) and s.name == place)  # type: ignore[return-value]
        raise BadRecipe(f"{type(method).__name__} cannot be exported: it is not defined at the top of a file")


def _chosen(node: ast.expr, method: Method) -> ast.expr:
    """The branch of a choice that the fields of a method make."""
    while isinstance(node, ast.IfExp) and (known := decided(node.test, method)) is not None:
        node = node.body if known[0] else node.orelse
    return node
