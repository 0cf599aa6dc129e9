"""Append-only JSON lines: one writer a file, complete lines or nothing, a digest over all of them at the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from halftime.errors import StorageError, writing
from halftime.places import total_loss

Record = dict[str, Any]
_Scalar = tuple[str, int, Tensor | float]  # key, step, value


class Writer:
    """Writes the records of one run attempt, or of one proof.

    Args:
        path: a file that does not exist yet; nobody else writes to it.
        every: seconds between two flushes of scalars.

    Raises:
        StorageError: the disk is full or read-only.
    """

    def __init__(self, path: Path, every: float = 1.0) -> None:
        self.path, self.every, self._ended, self._size = path, every, False, 0
        self._digest = hashlib.sha256()
        self._waiting: list[_Scalar] = []  # not yet looked at
        self._seconds: list[tuple[int, float, float]] = []  # step, waited, in all: of the host, so always finite
        self._copies: list[_Copy] = []  # on their way from the device
        self._next = time.monotonic() + every
        self.depths: list[tuple[int, int]] = []  # step, batches that stood made; filled by who serves ahead
        self.standing: Callable[[], Record] = dict  # how far things are, for an end that nobody planned
        self.telling: Callable[[], Iterable[str]] = list  # what happened since it was last asked
        self._file = self._open()

    def _open(self) -> int:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def scalar(self, key: str, value: Tensor | float, step: int) -> None:
        """Note a number without waiting for the device; it is read and written later, in bulk."""
        self._waiting.append((key, step, value))

    def step(self, step: int, losses: Sequence[Any], lr: float, wait: float = 0.0, began: float = 0.0) -> None:
        """Note a step's loss (the sum over its micro-batches), each of several losses, the rate, and its seconds.

        Args:
            step: its number.
            losses: of each micro-batch.
            lr: learning rate.
            wait: seconds for which the step waited for its batch.
            began: when it asked for the batch, on `time.perf_counter`; 0 if nobody looked.
        """
        whole = [total_loss(loss).detach() for loss in losses]
        self.scalar("loss", whole[0] if len(whole) == 1 else torch.stack(whole).sum(), step)
        if losses and isinstance(losses[0], dict):
            for name in losses[0]:
                self.scalar(f"loss/{name}", torch.stack([loss[name].detach() for loss in losses]).sum(), step)
        self.scalar("lr", lr, step)
        if began:
            self._seconds.append((step, wait, time.perf_counter() - began))

    def due(self) -> bool:
        """Whether it is time to flush."""
        return time.monotonic() >= self._next

    def flush(self, wait: bool = True) -> tuple[str, int] | None:
        """Write what is to be told, and the scalars; (key, step) of the first that is not finite, if any.

        Args:
            wait: whether to wait for values still on the device; otherwise they are written the next time.
        """
        for text in self.telling():
            self.record("event", text=text)
        self._next = time.monotonic() + self.every
        self._copies.append(_Copy(self._waiting))
        self._waiting = []
        series: dict[str, tuple[list[int], list[float]]] = {}
        while self._copies and (wait or self._copies[0].done()):
            for key, step, value in self._copies.pop(0).read():
                steps, values = series.setdefault(key, ([], []))
                steps.append(step)
                values.append(value)
        self._write(
            [
                {"kind": "series", "key": key, "steps": _packed(steps), "values": [_short(v) for v in values]}
                for key, (steps, values) in series.items()
            ]
            + self._clocked()
        )
        bad = [
            (step, key)
            for key, (steps, values) in series.items()
            for step, value in zip(steps, values, strict=True)
            if not math.isfinite(value)
        ]
        return min(bad)[::-1] if bad else None

    def _clocked(self) -> list[Record]:
        """The seconds of the steps since the last flush."""
        if not self._seconds:
            return []
        steps, waits, wholes = zip(*self._seconds, strict=True)
        self._seconds = []
        named = {"wait": waits, "step": wholes}
        at = _packed(list(steps))
        found: list[Record] = [
            {"kind": "series", "key": key, "steps": at, "values": [round(v, 6) for v in values]}
            for key, values in named.items()
        ]
        if self.depths:
            at = _packed([step for step, _ in self.depths])
            found.append({"kind": "series", "key": "queue", "steps": at, "values": [n for _, n in self.depths]})
            self.depths.clear()
        return found

    def record(self, kind: str, durable: bool = False, **content: Any) -> None:
        """Write one record at once; `durable` waits until it is on the disk. What is not finite becomes null."""
        self._write([{"kind": kind, "t": round(time.time(), 3), **nulled(content)}])
        if durable:
            self._sync()

    def end(self, state: str, **content: Any) -> None:
        """Write the last record, with the digest of everything before it, and close."""
        self.flush()
        self.record("end", state=state, **content, digest=self._digest.hexdigest())
        self._ended = True  # from here on nothing more may be written, not even that the disk failed
        self._sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        try:
            if error is not None and not self._ended:
                reason = " ".join(str(error).split()) or type(error).__name__
                # neither who interrupts nor a full disk judges: what was killed can be gone on with, what failed is a
                # result
                failed = isinstance(error, Exception) and not isinstance(error, StorageError)
                state = "failed" if failed else "killed"
                with contextlib.suppress(StorageError):  # a full disk cannot hold the news that it is full
                    self._rescue()
                    self.end(state, reason=reason[:500], **self.standing())
            elif not self._ended:
                self.flush()
        finally:
            os.close(self._file)

    def _rescue(self) -> None:
        """Write what can still be had: a device that failed gives out no more, and takes its own along."""
        try:
            self.flush()
        except RuntimeError:
            self._waiting.clear()
            self._copies.clear()
            self.telling = list

    def _sync(self) -> None:
        with writing(self.path):
            os.fsync(self._file)

    def _write(self, records: list[Record]) -> None:
        data = "".join(json.dumps(r, separators=(",", ":"), allow_nan=False) + "\n" for r in records).encode()
        with writing(self.path):
            try:
                done = 0
                while done < len(data):
                    done += os.write(self._file, data[done:])
            except BaseException:  # take a torn line back: what is written next must be a line of its own
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._size)
                raise
        self._digest.update(data)
        self._size += len(data)


class Silent(Writer):
    """Takes what a writer takes and looks at it in the same way, but writes nothing: for ranks other than the first."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def _open(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)

    def _write(self, records: list[Record]) -> None:
        pass

    def _sync(self) -> None:
        pass


def read(path: Path) -> tuple[list[Record], bool | None]:
    """Every complete line of a file, and whether the digest in its end record is right (None: it has no end record)."""
    with writing(path):
        data = path.read_bytes()
    records: list[Record] = []
    position = 0
    for line in data.split(b"\n")[:-1]:  # what follows the last newline was torn off by a crash
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return records, False
        if not isinstance(record, dict) or "kind" not in record:
            return records, False
        if record["kind"] == "end":
            intact = record.get("digest") == hashlib.sha256(data[:position]).hexdigest()
            return [*records, record], intact and position + len(line) + 1 == len(data)
        records.append(record)
        position += len(line) + 1
    return records, None


class _Copy:
    """Scalars on their way from the device to the host, several in one transfer."""

    def __init__(self, scalars: list[_Scalar]) -> None:
        self._scalars = scalars
        found = [_plain(value) for _, _, value in scalars if isinstance(value, Tensor)]
        cuda = bool(found) and found[0].is_cuda
        self._numbers = torch.stack(found).to("cpu", non_blocking=cuda) if found else torch.empty(0)
        self._event = torch.cuda.current_stream(found[0].device).record_event() if cuda else None

    def done(self) -> bool:
        """Whether reading would not wait."""
        return self._event is None or self._event.query()

    def read(self) -> Iterator[tuple[str, int, float]]:
        """The scalars as numbers."""
        if self._event is not None:
            self._event.synchronize()
        numbers = iter(self._numbers.tolist())
        for key, step, value in self._scalars:
            yield key, step, next(numbers) if isinstance(value, Tensor) else value


def _plain(value: Tensor) -> Tensor:
    """A number as most losses are already: without dimensions, in 32 bits, without its graph."""
    if value.ndim == 0 and value.dtype is torch.float32 and not value.requires_grad:
        return value
    return value.detach().reshape(()).float()


def _packed(steps: list[int]) -> list[int] | dict[str, int]:
    if steps == list(range(steps[0], steps[0] + len(steps))):
        return {"first": steps[0], "count": len(steps)}
    return steps


def nulled(value: Any) -> Any:
    """A value as JSON can hold it: what is not finite in it, at any depth, is null.

    >>> nulled({"score": float("nan"), "scores": {"cat": float("inf"), "dog": 0.5}})
    {'score': None, 'scores': {'cat': None, 'dog': 0.5}}
    """
    if isinstance(value, dict):
        return {key: nulled(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [nulled(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
