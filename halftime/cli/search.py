"""Find a faster recipe for a workload within some hours, and prove it."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, Stopped

if TYPE_CHECKING:
    from halftime.search.records import Bar, Found

DEFAULT = ("AdamW()", "OneCycle()")  # as `halftime train` and `halftime tune` take
WIDTH = 32  # characters of the longest bar


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument("--base", metavar="RECIPE", help="the recipe to beat: JSON or Python file, or a name")
    parser.add_argument("--hours", type=float, metavar="H", help="for everything, the proof included ...")
    parser.add_argument("--minutes", type=float, metavar="M", help="... or in minutes")
    parser.add_argument(
        "--methods", metavar="A,B", help="only these may be tried, such as EMA,LabelSmoothing(smoothing=0.1)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search of the same call that was stopped")
    parser.add_argument("--price", type=float, metavar="PER_HOUR", help="money for an hour of the device")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    parser.add_argument("--out", metavar="DIR", help="write recipe.json and search.json there")


def run(given: argparse.Namespace) -> int:
    """Search, then print what was found; exit code 1 where nothing was."""
    from halftime.recipe import Recipe
    from halftime.search.search import search

    minutes = _minutes(given)
    read.check_out(given.out)
    workload, known, source = read.workload(given.workload)
    default = Recipe([read.method(text) for text in DEFAULT], epochs=10)
    base = read.recipe(given.base, known) if given.base else default
    texts = re.split(r",(?![^(]*\))", given.methods) if given.methods is not None else None
    methods = texts and [read.method(text, known) if "(" in text else text.strip() for text in texts]
    try:
        found = search(
            workload, base, minutes=minutes, methods=methods, known=known, resume=given.resume, price=given.price,
            device=given.device, source=source, quiet=True if given.json else None,
        )  # fmt: skip
    except Stopped as stopped:
        from halftime.cli import fail

        fail("halftime: the search was stopped; the same call with --resume goes on with it", 128 + stopped.signal)
    if given.out:
        _write(Path(given.out), found)
    read.print_json(found.to_dict()) if given.json else print(shown(found, given.out))
    return 0 if found.verdict == "faster" else 1


def _minutes(given: argparse.Namespace) -> float | None:
    if given.hours is not None and given.minutes is not None:
        raise BadValue("give --hours or --minutes, not both")
    minutes = given.minutes if given.hours is None else given.hours * 60
    if minutes is None and not given.resume:
        raise BadValue("a search needs its time: give --hours H or --minutes M")
    if minutes is not None and not 0 < minutes < math.inf:
        raise BadValue(f"a search needs some time, more than 0, not {minutes:g} minutes")
    if given.price is not None and not 0 <= given.price < math.inf:
        raise BadValue(f"--price must be 0 or more for an hour, not {given.price:g}")
    return None if minutes is None else float(minutes)


def _write(folder: Path, found: Found) -> None:
    """Both files, each whole or not at all."""
    import json

    from halftime.ledger.checkpoint import replace
    from halftime.search.outcome import plain

    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "recipe.json", (json.dumps(found.recipe, indent=2) + "\n").encode())
    replace(folder / "search.json", (json.dumps(plain(found.to_dict()), indent=2) + "\n").encode())


def shown(found: Found, out: str | None = None) -> str:
    """The outcome for a terminal: the waterfall, the recipe, the proof, the cost."""
    lines = [found.words]
    if found.bars:
        lines += ["", *bars(found.bars)]
    lines += ["", f"recipe: {_recipe(found.recipe)}"] if found.verdict == "faster" else []
    lines += [f"note: {note}" for note in found.notes]
    cost = f"cost: {found.seconds / 60:.1f} minutes, {found.device_seconds / 60:.1f} of them on the device"
    cost += "" if found.price is None else f" = {found.price * found.seconds / 3600:.2f}"
    back = "" if found.pays_back is None else f"; pays back after {found.pays_back} trainings"
    lines += [cost + back, f"search {found.id}" + (f", proof {found.proof}" if found.proof else "")]
    return "\n".join(lines + ([f"written: {out}/recipe.json, {out}/search.json"] if out else []))


def bars(found: tuple[Bar, ...]) -> list[str]:
    """The waterfall as lines: log bars, each from where the one before it ended.

    Example:
        >>> from halftime.search.records import Bar
        >>> print("\\n".join(bars((Bar("+ EMA()", 2.0, 1.8, 2.2), Bar("length", 2.0, 1.9, 2.1)))))
        + EMA()  2.00×  ████████████████
        length   2.00×                  ████████████████
        in all   4.00×
    """
    ends, at = [0.0], 0.0
    for bar in found:
        at += math.log(bar.ratio)
        ends.append(at)
    low, span = min(ends), max(max(ends) - min(ends), 1e-9)
    wide = max(len(name) for name in ("in all", *(bar.change for bar in found)))
    lines = []
    for bar, start, end in zip(found, ends, ends[1:], strict=False):
        left, right = (round((x - low) / span * WIDTH) for x in sorted((start, end)))
        lines.append(f"{bar.change:{wide}}  {bar.ratio:.2f}×  {' ' * left}{'█' * max(1, right - left)}")
    return [*lines, f"{'in all':{wide}}  {math.exp(at):.2f}×"]


def _recipe(content: Any) -> str:
    from halftime.recipe import Recipe

    recipe = Recipe.from_dict(content, strangers=True)
    return ", ".join(map(str, recipe.methods)) + f"; {recipe.budget}, batch {recipe.batch_size}"
