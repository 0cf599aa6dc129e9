"""Which parts of halftime a script has in a plainer form: the ones in `plain.py`, or something of Python's own."""

from __future__ import annotations

from collections.abc import Mapping

PLAIN = "halftime.export.plain"

STAND_INS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("halftime.errors", "shorten"): ("", "repr"),
    ("halftime.data.batch", "micro_batches"): (PLAIN, "micro_batches"),
    ("halftime.data.feed", "Feed"): (PLAIN, "Feed"),
    ("halftime.data.feed", "Tensors"): (PLAIN, "Tensors"),
    ("halftime.data.feed", "in_turn"): (PLAIN, "in_turn"),
    ("halftime.data.order", "shuffled"): (PLAIN, "shuffled"),
    ("halftime.data.sources", "cache"): (PLAIN, "cache"),
    ("halftime.data.sources", "files"): (PLAIN, "files"),
    ("halftime.data.storage", "to_device"): (PLAIN, "to_device"),
    ("halftime.data.workers", "Ahead"): (PLAIN, "Ahead"),
    ("halftime.methods.packed", "packed"): (PLAIN, "packed"),
    ("halftime.workload", "Workload"): ("types", "SimpleNamespace"),
}
