"""Pack a workload's training data into flat files, look at a pack or verify it, or see which samples are useful."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from halftime.cli.arguments import print_json
from halftime.errors import BadData, BadValue

if TYPE_CHECKING:
    from halftime.workload import Workload


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb is given."""
    said = "; ".join(f"{name}: {what}" for name, (_, what) in ACTIONS.items())
    parser.add_argument("what", choices=ACTIONS, help=said)
    parser.add_argument(
        "source", metavar="SOURCE", help="a workload's name or Python file (pack, usefulness), or a pack's folder"
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="where the pack will lie")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[], metavar="PIXELS", help="shorter sides of smaller copies to store"
    )
    parser.add_argument("--classes", type=int, metavar="N", help="refuse class numbers that are not below N (pack)")
    parser.add_argument(
        "--score", choices=("el2n", "forgetting", "margin"), help="what tells the useful samples (usefulness; el2n)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="for which the proxy is trained (usefulness; 3)")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is (usefulness)")
    parser.add_argument("--out", metavar="FILE", help="the page (usefulness; usefulness.html)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Do it; 0 done, 1 a pack that is not what was packed."""
    act, _ = ACTIONS[given.what]
    meant = {**dict.fromkeys(("score", "epochs", "device", "out"), "usefulness"), "classes": "pack"}
    for name, what in meant.items():
        if getattr(given, name) is not None and given.what != what:
            raise BadValue(f"--{name} is for halftime data {what}, not for halftime data {given.what}")
    return act(given)


def _pack(given: argparse.Namespace) -> int:
    if given.folder is None:
        raise BadValue("halftime data pack needs a folder for the pack: halftime data pack WORKLOAD FOLDER")
    from halftime.cli.arguments import workload
    from halftime.data.pack import pack

    if given.classes is not None and given.classes < 1:
        raise BadValue(f"--classes {given.classes}: give a count of at least 1")
    found, _, _ = workload(given.source)
    _refuse_raw(found)
    made = pack(found.train, given.folder, sizes=given.sizes, classes=given.classes)
    about = {"folder": given.folder, "samples": made.samples, "bytes": made.bytes, "skipped": list(made.skipped)}
    if given.json:
        print_json(about)
        return 0
    print(f"packed {made.samples} samples of {found.name} into {given.folder}: {made.bytes / 2**20:.1f} MiB")
    for name in made.skipped:
        print(f"left out: {name}")
    return 0


def _refuse_raw(workload: Workload) -> None:
    """Rows of which samples are made as they are served would be no training set of their own."""
    from halftime.data.batch import split
    from halftime.data.pack_write import rows

    some = rows(workload.train, slice(0, 1))
    if some is None:
        return
    try:
        split(some)
    except BadData:
        what = type(workload.train).__name__
        raise BadData(
            f"{workload.name}: its samples ({what}) are made from their rows as they are served, so a pack of these "
            "is no training set of its own: put Packed() into a recipe instead"
        ) from None


def _inspect(given: argparse.Namespace) -> int:
    import dataclasses

    from halftime.data.manifest import read

    made = read(_folder(given))
    if given.json:
        print_json({"bytes": made.bytes, **dataclasses.asdict(made)})
        return 0
    print(f"{made.samples} samples, {made.bytes / 2**20:.1f} MiB, of data with the digest {made.source}")
    for name, field in made.fields.items():
        shape = "x".join(map(str, field.shape)) or "one number"
        ragged = ", rows differ by sample" if field.offsets else ""
        print(f"{name:16} {field.dtype:8} {field.rows} rows of {shape}{ragged}, {field.bytes / 2**20:.1f} MiB")
    for name in made.skipped:
        print(f"left out: {name}")
    return 0


def _verify(given: argparse.Namespace) -> int:
    from halftime.data.manifest import read, verify

    wrong = verify(_folder(given))
    blocks = sum(len(field.blocks) for field in read(_folder(given)).fields.values())
    if given.json:
        print_json({"blocks": blocks, "wrong": wrong})
    else:
        print(f"{blocks} blocks checked, {len(wrong)} of them not what was packed")
        for line in wrong:
            print(f"changed: {line}")
    return 1 if wrong else 0


def _usefulness(given: argparse.Namespace) -> int:
    if given.folder is not None or given.sizes:
        raise BadValue("halftime data usefulness takes a workload and nothing else: the page goes to --out FILE")
    from halftime.cli import usefulness

    return usefulness.run(given)


def _folder(given: argparse.Namespace) -> Path:
    if given.folder is not None or given.sizes:
        raise BadValue(f"halftime data {given.what} takes the folder of a pack and nothing else")
    return Path(given.source)


ACTIONS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "pack": (_pack, "read the training data of a workload once and write them"),
    "inspect": (_inspect, "what a pack holds"),
    "verify": (_verify, "hash every block again"),
    "usefulness": (_usefulness, "score the training samples, and show the extremes on a page"),
}
