"""What several verbs are given: workloads, recipes and methods as text, and JSON as the answer."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.errors import BadRecipe, BadValue, HalftimeError, UnknownName, shorten, unknown

if TYPE_CHECKING:
    from halftime.places import Method
    from halftime.recipe import Recipe
    from halftime.workload import Workload


def workload(text: str, target: float | None = None) -> tuple[Workload, tuple[type[Method], ...], str]:
    """(workload, the methods its file defines, where it was found) from a built-in name or a Python file."""
    from halftime.workloads.source import find

    return find(text, target)


def recipe(text: str, known: Iterable[type[Method]] = ()) -> Recipe:
    """A recipe from a JSON file, a Python file, or by the name of one in `recipes/`."""
    from halftime.recipe import Recipe
    from halftime.workloads.source import load, text_of

    path = Path(text)
    if path.suffix not in (".json", ".py"):
        named = {
            p.stem: p for folder in _recipes() for p in sorted(folder.glob("*.py")) + sorted(folder.glob("*.json"))
        }
        if text not in named:
            raise UnknownName(f"{unknown('recipe', text, named)}; or give a file that ends in .json or .py")
        path = named[text]
    if path.suffix == ".json":
        try:
            return Recipe.from_json(text_of(path), known)
        except HalftimeError as error:
            raise type(error)(f"{path}: {error}") from error
    found = getattr(load(path, "recipe"), "recipe", None)
    found = found() if callable(found) else found
    if not isinstance(found, Recipe):
        raise BadRecipe(f"{path} must define `recipe`, a halftime.Recipe or a function that returns one")
    return found


def method(text: str, known: Iterable[type[Method]] = ()) -> Method:
    """A method as it is written in Python, such as `AdamW(lr=0.003)`; parsed, never evaluated.

    Example:
        >>> str(method("StepDrop(milestones=[0.5], factor=0.2)"))
        'StepDrop(milestones=(0.5,), factor=0.2)'
    """
    from halftime.methods import ALL

    wrong = BadValue(f"{shorten(text)} is not a method: write it as in Python, such as AdamW(lr=0.003)")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise wrong from None
    call = tree if isinstance(tree, ast.Call) else ast.Call(func=tree, args=[], keywords=[])
    if not isinstance(call.func, ast.Name):
        raise wrong
    classes = {c.__name__: c for c in (*ALL, *known)}
    if call.func.id not in classes:
        raise unknown("method", call.func.id, classes)
    names = [k.arg for k in call.keywords]
    if len(set(names)) < len(names):
        raise BadValue(f"{shorten(text)}: an argument is given twice: keep one")
    if call.args or None in names:
        raise BadValue(f"{shorten(text)}: give arguments by name, such as lr=0.003")
    try:
        values = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise BadValue(f"{shorten(text)}: arguments must be plain numbers, texts, lists, True, False or None") from None
    return classes[call.func.id].from_dict(values)


def several(text: str) -> list[str]:
    """A list of methods with commas between them, apart; commas within brackets belong to a method.

    Example:
        >>> several("EMA,StepDrop(factor=0.2, milestones=(0.5, 0.8))")
        ['EMA', 'StepDrop(factor=0.2, milestones=(0.5, 0.8))']
    """
    parts, depth = [""], 0
    for sign in text:
        depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def print_json(content: Any) -> None:
    """One JSON document on stdout; what is not finite becomes null."""
    print(json.dumps(_finite(content), indent=2, default=str))


def write_page(path: str, page: str) -> None:
    """Write an HTML file, whole or not at all."""
    from halftime.ledger.checkpoint import replace

    replace(Path(path), page.encode())


def check_out(path: str | None, option: str = "--out", folder: bool = False) -> None:
    """Refuse an impossible output file, or folder, before hours are spent on what goes into it."""
    if path is None:
        return
    if not Path(path).resolve().parent.is_dir():
        raise BadValue(f"{option} {path}: that folder does not exist: create it first")
    if Path(path).exists() and Path(path).is_dir() != folder:
        raise BadValue(f"{option} {path}: that is {'a file: name a folder' if folder else 'a folder: name a file'}")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(k): _finite(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(v) for v in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _recipes() -> Sequence[Path]:
    """Where named recipes lie: those that came with halftime, installed or in a checkout, then the working folder's."""
    package = Path(__file__).parent.parent
    folders = (Path("recipes"), package / "_recipes", package.parent / "recipes")
    return [folder for folder in reversed(folders) if folder.is_dir()]
