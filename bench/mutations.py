"""Checkpoints whose newest was damaged in one of many ways: is it noticed, is it said, is the one before it used?

Each mutation changes one file of the newest checkpoint (or both) and nothing else. A mutation that happens to change no
byte is drawn again. Wanted every time: no exception, the state of the checkpoint before it, and a notice. With both
checkpoints damaged: a `BadCheckpoint` of one line.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import damage, tables
from halftime.errors import BadCheckpoint
from halftime.ledger import checkpoint

OLDER, NEWER = 7, 8
Change = Callable[[Path, random.Random], None]


def _in_place(change: Callable[[bytearray, random.Random], bytes]) -> Change:
    def mutate(folder: Path, dice: random.Random) -> None:
        path = folder / f"step-{NEWER:012d}{dice.choice(('.json', '.safetensors'))}"
        path.write_bytes(change(bytearray(path.read_bytes()), dice))

    return mutate


def bit_flip(data: bytearray, dice: random.Random) -> bytes:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data


def truncated(data: bytearray, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def zero_page(data: bytearray, dice: random.Random) -> bytes:
    first = dice.randrange(len(data))
    count = min(4096, len(data) - first)
    data[first : first + count] = bytes(count)
    return data


def appended(data: bytearray, dice: random.Random) -> bytes:
    return data + dice.randbytes(dice.randrange(1, 64))


def random_bytes(data: bytearray, dice: random.Random) -> bytes:
    return dice.randbytes(len(data))


def deep(data: bytearray, dice: random.Random) -> bytes:
    return b"[" * (len(data) + dice.randrange(2000, 200_000))


def edited(folder: Path, dice: random.Random) -> None:
    """A value of the JSON changed by hand, its digest left as it was."""
    path = folder / f"step-{NEWER:012d}.json"
    content = json.loads(path.read_bytes())
    what = dice.choice(("step", "tensors", "state", "digest", "drop", "list"))
    if what == "drop":
        del content[dice.choice(list(content))]
    elif what == "list":
        content = [content]
    else:
        content[what] = {"step": dice.randrange(100), "state": {"dict": []}}.get(what, f"{dice.getrandbits(256):064x}")
    path.write_text(json.dumps(content, sort_keys=True))


def exchanged(folder: Path, dice: random.Random) -> None:
    """Files of the older checkpoint under the names of the newer one: one of them, or both."""
    for end in dice.choice(((".json",), (".safetensors",), (".json", ".safetensors"))):
        shutil.copy(folder / f"step-{OLDER:012d}{end}", folder / f"step-{NEWER:012d}{end}")


def gone(folder: Path, _: random.Random) -> None:
    (folder / f"step-{NEWER:012d}.safetensors").unlink()


def a_folder(folder: Path, dice: random.Random) -> None:
    path = folder / f"step-{NEWER:012d}{dice.choice(('.json', '.safetensors'))}"
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Change] = {
    "bit flip": _in_place(bit_flip),
    "truncated": _in_place(truncated),
    "zero page": _in_place(zero_page),
    "appended": _in_place(appended),
    "random bytes": _in_place(random_bytes),
    "deep nest": _in_place(deep),
    "edited JSON": edited,
    "exchanged": exchanged,
    "file gone": gone,
    "file is a folder": a_folder,
}


def _bytes(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def noticed(folder: Path, change: Change, dice: random.Random) -> str:
    """Damage the newer of two good checkpoints; what is wrong with how they are read."""
    before = _bytes(folder)
    while _bytes(folder) == before:
        change(folder, dice)
    try:
        step, found, notice = checkpoint.read(folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if step != OLDER or not damage.whole(step, found):
        return f"step {step} was read"
    return "" if notice and "\n" not in notice else f"the notice is {notice!r}"


def both(folder: Path, dice: random.Random) -> str:
    """Damage both checkpoints; what is wrong with the error."""
    for step in (OLDER, NEWER):
        path = folder / f"step-{step:012d}{dice.choice(('.json', '.safetensors'))}"
        path.write_bytes(bit_flip(bytearray(path.read_bytes()), dice))
    try:
        step, *_ = checkpoint.read(folder)
    except BadCheckpoint as error:
        return "" if "\n" not in str(error) else "several lines"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"step {step} was read"


def trials(root: Path, n: int, dice: random.Random) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """`n` mutations, in turn over the kinds."""
    kinds = [*CHANGES, "both damaged"]
    seen: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    for step in (OLDER, NEWER):
        checkpoint.write(root / "good", step, damage.state(step))
    for turn in range(n):
        kind, folder = kinds[turn % len(kinds)], shutil.copytree(root / "good", root / f"mutation{turn}")
        problem = noticed(folder, CHANGES[kind], dice) if kind in CHANGES else both(folder, dice)
        seen[kind][problem] += 1
        shutil.rmtree(folder)
    rows = []
    for kind, found in seen.items():
        bad = {problem: times for problem, times in found.items() if problem}
        rows.append({"damage": kind, "n": found.total(), "missed": sum(bad.values()), "how": "; ".join(bad)[:100]})
    question = "A checkpoint is damaged: how often is it not noticed, not said, or the one before it not used?"
    missed = sum(row["missed"] for row in rows)
    return [tables.count("damage: missed", question, "0", "missed", missed, n)], rows
