"""The rules of the house that a machine can hold: arrows, sizes, no pickle, no waiting. Each counts what it guarded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import halftime

PACKAGE = Path(halftime.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FIRST = ("places.py", "recipe.py", "workload.py", "train.py")

ALLOWED = {  # what a room may import of halftime; the files at the top are rooms of their own
    "errors": set(),
    "settings": {"errors"},
    "data": {"errors", "data"},
    "places": {"errors", "settings", "data"},
    "recipe": {"errors", "settings", "places", "methods"},
    "workload": {"errors", "places", "data"},
    "methods": {"errors", "places", "settings", "data", "methods", "heads", "notes", "overflow", "snapshots"},
    "heads": {"data", "errors", "notes", "places"},
    "overflow": {"data", "places"},
    "snapshots": set(),
    "notes": {"places"},
    "run": {"errors", "ledger", "places", "recipe"},
    "ledger": {"errors", "data", "places", "recipe", "workload", "run", "ledger"},
    "measure": {"errors", "data", "places", "recipe", "workload", "run", "ledger", "measure"},
    "diagnose": {"diagnose", "errors", "data", "ledger", "places", "workload", "run", "measure"},
    "report": {"diagnose", "errors", "places", "recipe", "workload", "run", "ledger", "measure", "report"},
    "workloads": {"errors", "data", "workload", "workloads", "measure"},
    "export": {"data", "diagnose", "errors", "export", "measure", "methods", "notes", "places", "recipe", "run",
               "workload", "workloads"},
    "train": {"errors", "data", "diagnose", "ledger", "measure", "places", "recipe", "report", "run", "workload"},
    "evidence": {"errors", "data", "diagnose", "evidence", "ledger", "measure", "methods", "places", "recipe", "run",
                 "search", "train", "workload", "workloads"},
    "search": {"errors", "data", "diagnose", "ledger", "measure", "methods", "places", "recipe", "run", "search",
               "train", "workload", "workloads"},
}  # fmt: skip
TOP = {"cli", "__init__", "__main__"}  # may import everything


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" if node.module == "halftime" else str(node.module) for a in node.names]
        yield from (name for name in names if name.split(".")[0] == "halftime")


def test_arrows_point_one_way() -> None:
    seen = 0
    for path in FILES:
        if room(path) in TOP:
            continue
        for name in imports(path):
            target = [*name.split("."), "__init__"][1]
            if target != "__version__":
                assert target in ALLOWED[room(path)], f"{path.relative_to(PACKAGE)} imports {name}"
                seen += 1
    assert seen > 50
    assert {room(p) for p in FILES} - TOP <= set(ALLOWED)


@pytest.mark.parametrize("name", ["data", "search"])
def test_a_large_room_has_a_floor_plan_on_which_every_file_stands_once(name: str) -> None:
    plan = (PACKAGE / name / "__init__.py").read_text()
    stands = [stem for line in re.findall(r"^- [a-z]+: (.+)$", plan, re.MULTILINE) for stem in line.split(", ")]
    files = {path.stem for path in (PACKAGE / name).glob("*.py")} - {"__init__"}
    assert len(files) > 30
    assert sorted(stands) == sorted(files)


def test_the_trainer_knows_no_method_by_name() -> None:
    assert not [name for name in imports(PACKAGE / "train.py") if name.startswith("halftime.methods")]


def functions(path: Path) -> Iterator[tuple[ast.AST, int]]:
    """Every function and its lines of code, without docstring, comments and blank lines."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                code = lines[body[0].lineno - 1 : node.end_lineno]
                yield node, sum(bool(line.strip()) and not line.strip().startswith("#") for line in code)


def test_sizes() -> None:
    seen = 0
    for path in FILES:
        limit = 200 if room(path) == "methods" else 300
        assert len(path.read_text().splitlines()) <= limit, path
        for node, length in functions(path):
            allowed = 120 if path.name == "train.py" and path.parent == PACKAGE and node.name == "train" else 40  # type: ignore[attr-defined]
            assert length <= allowed, f"{path.relative_to(PACKAGE)}: {node.name} has {length} lines"  # type: ignore[attr-defined]
            seen += 1
    assert seen > 100
    assert sum(len((PACKAGE / name).read_text().splitlines()) for name in FIRST) <= 700


def depth(node: ast.AST, level: int = 0) -> int:
    deeper = (ast.If, ast.For, ast.While, ast.With, ast.Try)
    own = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            continue
        elif_ = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        own.append(depth(child, level + (isinstance(child, deeper) and not elif_)))
    return max(own, default=level)


def test_nesting() -> None:
    seen = 0
    for path in FILES:
        for node, _ in functions(path):
            assert depth(node) <= 3, f"{path.relative_to(PACKAGE)}: {node.name}"  # type: ignore[attr-defined]
            seen += 1
    assert seen > 100


def test_nothing_is_pickled_evaluated_or_run_by_a_shell() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
    calls = {"eval", "exec", "torch.load", "torch.save"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [str(getattr(node, "module", ""))]
                assert not forbidden & {n.split(".")[0] for n in names}, path
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in calls, path
                assert "shell=True" not in ast.unparse(node), path
    assert len(FILES) > 40


def test_nothing_in_a_place_or_in_the_loop_waits_for_the_device() -> None:
    """`.item()`, `.cpu()`, `.tolist()`, `.numpy()` and printing a tensor wait; the loop and the methods do none of it.

    The final weights are fetched after the last step; loss scaling reads a scale that torch's scaler fetches anyway.
    """
    waits = {"item", "cpu", "tolist", "numpy"}
    seen = 0
    for path in [PACKAGE / "train.py", *sorted((PACKAGE / "methods").glob("*.py"))]:
        tree = ast.parse(path.read_text())
        loops = [s for n in ast.walk(tree) if isinstance(n, ast.While) for s in n.body]
        for part in loops if path.name == "train.py" else tree.body:
            seen += 1
            for node in ast.walk(part):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert node.func.attr not in waits, f"{path.name}, line {node.lineno}"
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id != "print", f"{path.name}, line {node.lineno}"
    assert seen >= 13


def test_every_public_thing_has_a_docstring() -> None:
    seen = 0
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.relative_to(PACKAGE)}: {node.name}"
                seen += 1
    assert seen > 80
