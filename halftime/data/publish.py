"""How a new pack takes the place of the old one: whole or not at all, whoever else packs into the same folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
import uuid
from pathlib import Path

from halftime.data import manifest as files

HOST = re.sub(r"\W", "_", socket.gethostname())
OLD = 2 * 86_400.0  # seconds after which what another machine left unfinished is nobody's


def unfinished(folder: Path) -> Path:
    """Where a new pack grows within its folder: the name says who makes it, since machines may share the folder."""
    return folder / f".part-{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def publish(folder: Path, part: Path, made: files.Manifest) -> None:
    """The one moment at which the new pack takes the place of the old.

    Args:
        folder: of the pack.
        part: where its data lie.
        made: its manifest.
    """
    sync(part)
    beside = part.with_name(f"{part.name}-{files.NAME}")
    try:
        with beside.open("w") as file:
            file.write(made.to_json())
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / made.data)
        beside.replace(folder / files.NAME)
    except BaseException:
        beside.unlink(missing_ok=True)
        shutil.rmtree(folder / made.data, ignore_errors=True)
        raise
    sync(folder)
    _sweep(folder)


def sync(folder: Path) -> None:
    """Wait until the disk holds the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove data that no manifest names, not even one that somebody else is about to publish.

    That one lies there before its data get their name, and is only ever renamed: looking for data first, then for
    manifests that wait, and at the published one last, nobody's are missed.
    """
    there = [*folder.glob("data-*")]
    waiting = [*folder.glob(f".part-*-{files.NAME}")]
    named = {_named(path) for path in [*waiting, folder / files.NAME]}
    for data in there:
        if data.name not in named:
            shutil.rmtree(data, ignore_errors=True)


def _named(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["data"])
    except (OSError, ValueError, KeyError, TypeError):  # it was published a moment ago
        return ""


def clear(folder: Path) -> None:
    """Remove what a packing that was killed left behind."""
    for left in folder.glob(".part-*"):
        if _wanted(left):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _wanted(left: Path) -> bool:
    """Does its maker live? On another machine nobody can tell: then until it is old."""
    _, host, owner = [*left.name.split("-"), "", ""][:3]
    if host == HOST and owner.isdigit():
        return _lives(int(owner))
    try:
        changed = max(path.stat().st_mtime for path in [left, *left.glob("*")])
    except OSError:  # somebody is at it
        return True
    return time.time() - changed < OLD


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
