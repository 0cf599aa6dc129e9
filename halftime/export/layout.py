"""The order and the names of what a script carries."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from keyword import iskeyword

from halftime.export.bundle import Bundle
from halftime.export.modules import FUNCTIONS, USER, read, stores

SECTIONS = {
    "data": "Data", "network": "Network", "loss": "Loss", "optimizer": "Optimizer", "schedule": "Schedule",
    "steps": "Steps", "evaluation": "Evaluation",
}  # fmt: skip
WRITTEN = ("main", "evaluate", "due", "progress_at")


def sections(bundle: Bundle, more: Mapping[str, list[str]]) -> list[str]:
    """What is carried, by section; inside a section, what is needed stands above what needs it."""
    _move_up(bundle)
    order: dict[str, list[int]] = {section: [] for section in SECTIONS}
    done: set[int] = set()

    def place(number: int) -> None:
        if number in done:
            return
        done.add(number)
        piece = bundle.pieces[number]
        for other in piece.needs:
            if other in piece.eager or bundle.pieces[other].section == piece.section:
                place(other)
        order[piece.section].append(number)

    for section in SECTIONS:
        for number in [n for n, piece in bundle.pieces.items() if piece.section == section]:
            place(number)
    lines: list[str] = []
    for section, numbers in order.items():
        texts = [t for n in numbers if (t := bundle.pieces[n].text)] + more.get(section, [])
        texts.sort(key=lambda t: not _early(t))
        lines += ["", "", f"# --- {SECTIONS[section]} ---"] * bool(texts)
        flat = True
        for text in texts:
            now = not re.match(r"(@|def |class |async |#)", text)
            lines += (
                ["" if flat and now else "\n", text] if not (flat and now and lines[-1].startswith("#")) else ["", text]
            )
            flat = now
    return [line for text in lines for line in text.split("\n")]


def _move_up(bundle: Bundle) -> None:
    """What a piece needs as it is read stands in no later section."""
    order, moved = list(SECTIONS), True
    while moved:
        moved = False
        pairs = [(piece, bundle.pieces[n]) for piece in bundle.pieces.values() for n in piece.eager]
        for piece, needed in pairs:
            if order.index(needed.section) > order.index(piece.section):
                needed.section, moved = piece.section, True


def names(bundle: Bundle, body: str) -> dict[int, str]:
    """One name for each carried definition: its own, unless something else in the script has that."""
    words = set(re.findall(r"\b[A-Za-z_]\w*\b", body))
    given = {one.bound for one in bundle.imports} | set(bundle.constants) | _taken(body)
    found: dict[int, str] = {}
    for what, number in bundle.numbers.items():
        bare, file = what.name.lstrip("_"), what.module.split(".")[-1].removeprefix(f"{USER}workload_")
        others = (f"{file}_{bare}", *(f"{bare}_{i}" for i in range(2, 99)))
        fresh = (wish for wish in (bare, *others) if wish not in given and wish not in words and not iskeyword(wish))
        own = what.name == bare and bare not in given
        found[number] = bare if own else next(fresh)
        given.add(found[number])
    return found


def _taken(body: str) -> set[str]:
    """The functions that are written for each script, and the variables in them."""
    found = set(WRITTEN)
    for node in ast.parse(body).body:
        if isinstance(node, ast.FunctionDef) and node.name in WRITTEN:
            found |= stores(node.body) | {a.arg for a in node.args.args}
    return found


def unused(bundle: Bundle, text: str) -> frozenset[tuple[str, str]]:
    """(class, function in it) of ours that nothing in a script calls."""
    asked = set(re.findall(r"\.([A-Za-z_]\w*)", text))
    found = set()
    for what in bundle.numbers:
        node = read(what.module).bindings.get(what.name) if what.module.startswith("halftime.") else None
        if isinstance(node, ast.ClassDef) and all(ast.unparse(b).split(".")[-1] == "Places" for b in node.bases):
            names = {f.name for f in node.body if isinstance(f, FUNCTIONS)}
            found |= {(node.name, n) for n in names if not n.startswith("__") and n not in asked}
    return frozenset(found) - bundle.dropped


def _early(text: str) -> bool:
    """Whether a piece is a constant that needs nothing carried."""
    return not re.match(r"(@|def |class |async )", text) and "__carried_" not in text.split("=", 1)[-1]
