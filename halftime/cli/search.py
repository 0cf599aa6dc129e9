"""Find a faster recipe for a workload within some hours, and prove it."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, InputError, Stopped, unknown

if TYPE_CHECKING:
    from halftime.ledger.store import Ledger
    from halftime.measure.proof import Proof
    from halftime.places import Method
    from halftime.search.records import Bar, Found
    from halftime.search.work import Engine
    from halftime.workload import Workload

DEFAULT = ("AdamW()", "OneCycle()")  # as `halftime train` and `halftime tune` take
SCRIPT = "train_fast"  # the plain script, without its ending
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
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write recipe.json and search.json there; of what was proved also receipt.json, receipt.html, and "
        "train_fast.py, a plain script",
    )


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
        folder = Path(given.out)
        files = _write(folder, found)
        more, notes = _write_proved(folder, found, workload, known, source) if found.verdict == "faster" else ([], [])
        told = [f"written: {', '.join(str(folder / name) for name in (*files, *more))}"]
        print("\n".join([*told, *(f"note: {note}" for note in notes)]), file=sys.stderr if given.json else sys.stdout)
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


def _write(folder: Path, found: Found) -> list[str]:
    """The recipe and the search, each whole or not at all; the names of the files."""
    import json

    from halftime.ledger.checkpoint import replace
    from halftime.ledger.lines import nulled

    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "recipe.json", (json.dumps(found.recipe, indent=2) + "\n").encode())
    replace(folder / "search.json", (json.dumps(nulled(found.to_dict()), indent=2) + "\n").encode())
    return ["recipe.json", "search.json"]


def _write_proved(
    folder: Path, found: Found, workload: Workload, known: tuple[type[Method], ...], source: str
) -> tuple[list[str], list[str]]:
    """Receipt and script of what was proved: (names of the files, why others could not be made)."""
    from halftime.ledger.store import Ledger
    from halftime.measure.proof import Proof
    from halftime.recipe import Recipe

    ledger, files, notes = Ledger(), list[str](), list[str]()
    proof = Proof.load(ledger.find(found.proof), ledger)
    try:
        files += _receipt(folder, proof, ledger)
    except InputError as error:
        notes.append(f"there is no receipt: {error}")
    try:
        from halftime.export.script import script
        from halftime.ledger.checkpoint import replace

        recipe, (first, *_) = Recipe.from_dict(found.recipe, known), proof.fast.runs
        text = script(workload, recipe, first.seed, source=source, device=proof.device, runs=(first,), name=SCRIPT,
                      settings=found.settings)  # fmt: skip
        replace(folder / f"{SCRIPT}.py", text.encode())
        files.append(f"{SCRIPT}.py")
    except InputError as error:
        notes.append(f"there is no plain script: {error}")
    return files, notes


def _receipt(folder: Path, proof: Proof, ledger: Ledger) -> list[str]:
    """The receipt and its page, as `halftime report --receipt` writes them."""
    from halftime.measure.ablation import ablation_of
    from halftime.measure.receipt import receipt
    from halftime.report.receipt import write

    ablation = ablation_of(proof.fast.recipe, proof.workload, ledger, proof.device, proof.fingerprint)
    write(receipt(proof, ledger), folder, ledger, ablation)
    return ["receipt.json", "receipt.html"]


def shown(found: Found) -> str:
    """The outcome for a terminal: the waterfall, the recipe, the proof, the cost."""
    lines = [found.words]
    if found.bars:
        from halftime.report.receipt import LEVELS

        lines += ["", *bars(found.bars), f"({LEVELS} What is left over has that of the proof.)"]
    lines += ["", f"recipe: {_recipe(found.recipe)}"] if found.verdict == "faster" else []
    lines += [f"set, for both arms of the proof: {setting}" for setting in found.settings]
    lines += [f"note: {note}" for note in found.notes]
    cost = f"cost: {found.seconds / 60:.1f} minutes" + (f" of {found.devices} devices" if found.devices > 1 else "")
    cost += "" if found.money is None else f" = {found.money:.2f}"
    side = found.device_seconds > found.seconds
    cost += f", {found.device_seconds / 60:.1f} {'side by side' if side else 'of them'} in trainings"
    back = "" if found.pays_back is None else f"; pays back after {found.pays_back} trainings"
    lines += [cost + back, f"search {found.id}" + (f", proof {found.proof}" if found.proof else "")]
    return "\n".join(lines)


def bars(found: tuple[Bar, ...]) -> list[str]:
    """The waterfall as lines: log bars, each from where the one before it ended.

    Example:
        >>> from halftime.search.records import Bar
        >>> print("\\n".join(bars((Bar("+ EMA()", 2.0, 1.8, 2.2), Bar("length", 2.0, 1.9, 2.1)))))
        + EMA()  2.00×  1.80× to 2.20×  ████████████████
        length   2.00×  1.90× to 2.10×                  ████████████████
        in all   4.00×

    A bar that was not measured, as it is what remains, is drawn hatched.
    """
    from halftime.report.waterfall import interval

    ends, at = [0.0], 0.0
    for bar in found:
        at += math.log(bar.ratio)
        ends.append(at)
    low, span = min(ends), max(max(ends) - min(ends), 1e-9)
    wide = max(len(name) for name in ("in all", *(bar.change for bar in found)))
    within = [interval(bar) for bar in found]
    room = max(map(len, within))
    lines = []
    for bar, words, start, end in zip(found, within, ends, ends[1:], strict=False):
        left, right = (round((x - low) / span * WIDTH) for x in sorted((start, end)))
        drawn = ("░" if bar.rest else "█") * max(1, right - left)
        lines.append(f"{bar.change:{wide}}  {bar.ratio:.2f}×  {words:{room}}  {' ' * left}{drawn}")
    return [*lines, f"{'in all':{wide}}  {math.exp(at):.2f}×"]


def _recipe(content: Any) -> str:
    from halftime.recipe import Recipe

    recipe = Recipe.from_dict(content, strangers=True)
    return ", ".join(map(str, recipe.methods)) + f"; {recipe.budget}, batch {recipe.batch_size}"
