"""What several verbs are given: workloads, recipes and methods as text, and JSON as the answer."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.errors import BadData, BadRecipe, BadValue, BadWorkload, HalftimeError, UnknownName, shorten, unknown

if TYPE_CHECKING:
    from halftime.places import Method
    from halftime.recipe import Recipe
    from halftime.workload import Workload


def workload(text: str, target: float | None = None) -> tuple[Workload, tuple[type[Method], ...], str]:
    """(workload, the methods its file defines, where it was found) from a built-in name or a Python file."""
    import dataclasses

    from halftime import workloads
    from halftime.workload import Workload

    if not text.endswith(".py"):
        return workloads.get(text, target), (), text
    module = _load(Path(text), "workload")
    found = getattr(module, "workload", None)
    if not isinstance(found, Workload):
        raise BadWorkload(f"{text} must define `workload`, a halftime.Workload; it is {shorten(found)}")
    found = found if target is None else dataclasses.replace(found, target=target)
    return found, tuple(getattr(module, "methods", ())), str(Path(text).resolve())


def recipe(text: str, known: Iterable[type[Method]] = ()) -> Recipe:
    """A recipe from a JSON file, a Python file, or by the name of one in `recipes/`."""
    from halftime.recipe import Recipe

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
            return Recipe.from_json(_text(path), known)
        except HalftimeError as error:
            raise type(error)(f"{path}: {error}") from error
    found = getattr(_load(path, "recipe"), "recipe", None)
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


def print_json(content: Any) -> None:
    """One JSON document on stdout; what is not finite becomes null."""
    print(json.dumps(_finite(content), indent=2, default=str))


def write_page(path: str, page: str) -> None:
    """Write an HTML file, whole or not at all."""
    from halftime.ledger.checkpoint import replace

    replace(Path(path), page.encode())


def check_out(path: str | None, option: str = "--out") -> None:
    """Refuse an impossible output file before hours are spent on what goes into it."""
    if path is not None and not Path(path).resolve().parent.is_dir():
        raise BadValue(f"{option} {path}: that folder does not exist: create it first")


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


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise BadData(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"cannot read {path}: {error}") from None


def _load(path: Path, what: str) -> Any:
    """Run a user's Python file as a module."""
    _text(path)
    spec = importlib.util.spec_from_file_location(f"halftime_user_{what}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadData(f"cannot load {path} as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file look themselves up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise BadData(f"{path}, line {error.lineno}: {error.msg}") from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module
