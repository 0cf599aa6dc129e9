"""What a script says about itself, and how values are written."""

from __future__ import annotations

import sys
from typing import Any

import torch

from halftime import __version__
from halftime.measure.plan import Plan
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.workload import Workload


def about(workload: Workload, recipe: Recipe, seed: int, plan: Plan, runs: tuple[Run, ...]) -> str:
    """The docstring of a script."""
    names = [type(m).__name__ for m in recipe.methods]
    how = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0] if names else "gradient descent"
    lines = [f"Train {workload.name} with {how}, in plain PyTorch.", ""]
    lines.append(f"Recipe {recipe.hash}, seed {seed}: {plan.total} steps of {recipe.batch_size} samples.")
    lines += [f"    {method}" for method in recipe.methods]
    if workload.target is not None:
        lines.append(f"Target: a validation score of {workload.target:g} ({workload.better} is better).")
    lines += _expected(runs)
    lines.append(
        f"On a CPU, with torch {torch.__version__}, and as many threads, the weights are those of the run, bit for bit."
    )
    lines.append(f"Written by halftime {__version__}; nothing of it is needed here.")
    return "\n".join(piece for line in lines for piece in _short(line)) + "\n"


def docstring(text: str) -> str:
    """The source of a docstring that says a text, whatever is in it.

    Example:
        >>> print(docstring("one \\\\ two").strip('"'))
        one \\\\ two
    """
    quoted = text.replace("\\", "\\\\").replace('"' * 3, '\\"' * 3)
    return f'"""{quoted}"""'


def _expected(runs: tuple[Run, ...]) -> list[str]:
    scores = sorted(run.score for run in runs if run.score is not None)
    if not scores:
        return []
    if len(runs) > 1:
        return [f"Expected: a score of {scores[0]:.4g} to {scores[-1]:.4g}, as in {len(scores)} recorded runs."]
    (run,) = runs
    met = "" if run.hit is None else f", the target met within {run.hit[1]:.3g} s"
    return [f"Expected: a score of {scores[0]:.6g}, as in run {run.id} ({run.seconds:.3g} s on {run.device}{met})."]


def _short(line: str, width: int = 118) -> list[str]:
    """A line of text, folded at blanks."""
    if len(line) <= width:
        return [line]
    at = line.rfind(" ", 0, width)
    return [line[:at], *_short("        " + line[at + 1 :], width)] if at > 8 else [line]


def described(kind: type) -> str:
    """What a method does, in a line: as its file says, where it has one of its own."""
    file = sys.modules[kind.__module__] if kind.__module__.startswith("halftime.methods.") else kind
    return (file.__doc__ or kind.__name__).splitlines()[0].removesuffix(".")


def literal(value: Any) -> str:
    """A plain value in Python, texts in double quotes.

    Example:
        >>> literal(("a", 1.5))
        '("a", 1.5)'
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, str):
        return '"' + repr(value)[1:-1].replace('"', '\\"') + '"' if "'" not in value else repr(value)
    return repr(value)
