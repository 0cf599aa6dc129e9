"""Find a faster recipe for a workload within some hours, and prove it."""

from __future__ import annotations

import argparse
import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, Stopped, unknown

if TYPE_CHECKING:
    from halftime.search.records import Bar, Found
    from halftime.search.work import Engine

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
        "--methods",
        metavar="A,B",
        help="of what may change the result only these are tried, such as EMA,LabelSmoothing(smoothing=0.1); exact "
        "switches, threads and the batch size are tried all the same",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search of the same call that was stopped")
    parser.add_argument("--price", type=float, metavar="PER_HOUR", help="money for an hour of the device")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--workers", type=int, metavar="N", help="train N at once, each with its share of the cores")
    parser.add_argument("--on", metavar="ENGINE", help="where the workers are, if not here: ray, for a Ray cluster")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    parser.add_argument("--out", metavar="DIR", help="write recipe.json and search.json there")


def run(given: argparse.Namespace) -> int:
    """Search, then print what was found; exit code 1 where nothing was."""
    from halftime.recipe import Recipe
    from halftime.search.search import search

    minutes = _minutes(given)
    read.check_out(given.out, folder=True)
    workload, known, source = read.workload(given.workload)
    default = Recipe([read.method(text) for text in DEFAULT], epochs=10)
    base = read.recipe(given.base, known) if given.base else default
    texts = None if given.methods is None else read.several(given.methods)
    methods = None if texts is None else [read.method(text, known) if "(" in text else text for text in texts]
    try:
        with _engine(given) as engine:
            found = search(
                workload, base, minutes=minutes, methods=methods, known=known, resume=given.resume, price=given.price,
                device=given.device, source=source, quiet=True if given.json else None, engine=engine,
            )  # fmt: skip
    except Stopped as stopped:
        from halftime.cli import fail

        fail("halftime: the search was stopped; the same call with --resume goes on with it", 128 + stopped.signal)
    read.print_json(found.to_dict()) if given.json else print(shown(found), flush=True)
    if given.out:
        _write(Path(given.out), found)
        print("" if given.json else f"written: {given.out}/recipe.json, {given.out}/search.json\n", end="")
    return 0 if found.verdict == "faster" else 1


def _engine(given: argparse.Namespace) -> contextlib.AbstractContextManager[Engine]:
    """What trains: this process, workers here, or those of a cluster."""
    if given.on == "ray":
        from halftime.search.engine_ray import Cluster

        return Cluster(given.workers, given.device)
    if given.on is not None:
        raise unknown("engine", given.on, ["ray"])
    if given.workers is not None:
        from halftime.search.engine_local import Workers

        return Workers(given.workers, given.device)
    from halftime.search.work import in_turn

    return contextlib.nullcontext(in_turn)


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


def shown(found: Found) -> str:
    """The outcome for a terminal: the waterfall, the recipe, the proof, the cost."""
    lines = [found.words]
    if found.bars:
        lines += ["", *bars(found.bars)]
    lines += ["", f"recipe: {_recipe(found.recipe)}"] if found.verdict == "faster" else []
    lines += [f"set, for both arms of the proof: {setting}" for setting in found.settings]
    lines += [f"note: {note}" for note in found.notes]
    cost = f"cost: {found.seconds / 60:.1f} minutes, {found.device_seconds / 60:.1f} of them on the device"
    cost += "" if found.price is None else f" = {found.price * found.seconds / 3600:.2f}"
    back = "" if found.pays_back is None else f"; pays back after {found.pays_back} trainings"
    lines += [cost + back, f"search {found.id}" + (f", proof {found.proof}" if found.proof else "")]
    return "\n".join(lines)


def bars(found: tuple[Bar, ...]) -> list[str]:
    """The waterfall as lines: log bars, each from where the one before it ended.

    Example:
        >>> from halftime.search.records import Bar
        >>> print("\\n".join(bars((Bar("+ EMA()", 2.0, 1.8, 2.2), Bar("length", 2.0, 1.9, 2.1)))))
        + EMA()  2.00×  ████████████████
        length   2.00×                  ████████████████
        in all   4.00×

    A bar that was not measured, as it is what remains, is drawn hatched.
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
        lines.append(
            f"{bar.change:{wide}}  {bar.ratio:.2f}×  {' ' * left}{('░' if bar.rest else '█') * max(1, right - left)}"
        )
    return [*lines, f"{'in all':{wide}}  {math.exp(at):.2f}×"]


def _recipe(content: Any) -> str:
    from halftime.recipe import Recipe

    recipe = Recipe.from_dict(content, strangers=True)
    return ", ".join(map(str, recipe.methods)) + f"; {recipe.budget}, batch {recipe.batch_size}"
