"""What if? Recorded work, replayed through a model of the torch `DataLoader`.

The model knows what the loader does: batch k belongs to worker k mod w; at most w times the prefetch factor are under
way; batches are delivered in order; the training process receives them, for which it needs a word from the worker
(who answers late while it is at work), then makes its step. It knows what the machine does: whoever needs a core shares
the cores there are, not quite without loss; who waits for a disk or a device needs none.
It does not know a ceiling on the disk's or the network's throughput: blocked time is taken to overlap freely.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

_TINY = 1e-12


class Piece(NamedTuple):
    """One batch and its step, in seconds. On a core: `*_cpu`. Needing none: `*_blocked`."""

    fetch_cpu: float
    fetch_blocked: float
    collate_cpu: float
    collate_blocked: float
    hand: float  # receiving a batch that is there, in the training process
    step_cpu: float
    step_blocked: float
    device: float = 0.0  # on the device, beside the host
    beside: float = 0.0  # in a worker, to send the batch: not needed where there are none


@dataclasses.dataclass(frozen=True)
class Setting:
    """A loader to imagine: `decode` scales the fetching of samples; `endless` has every batch ready at no cost."""

    workers: int
    prefetch: int = 2
    decode: float = 1.0
    endless: bool = False


@dataclasses.dataclass(frozen=True)
class Host:
    """The machine: cores, how many of them a step uses at once, and what else was measured on it.

    `answer` and `busy` are seconds for which the training process waits for a word from the worker whose batch it
    receives: from one that is idle, and from one at work. `sharing` is the part of the cores that is left to work where
    more want one than there are.
    """

    cores: float
    breadth: float = 1.0
    answer: float = 0.0
    busy: float = 0.0
    sharing: float = 1.0


def seconds_per_step(pieces: Sequence[Piece], setting: Setting, host: Host) -> float:
    """Mean seconds from one delivered batch to the next, once the loader has got going.

    Args:
        pieces: recorded batches and steps, in order.
        setting: the loader to imagine.
        host: the machine.

    Example:
        >>> work = [Piece(0.0, 0.03, 0.0, 0.0, 0.0, 0.0, 0.01)] * 50
        >>> [round(seconds_per_step(work, Setting(w), Host(cores=2)), 3) for w in (0, 1, 2, 3, 4)]
        [0.04, 0.03, 0.015, 0.01, 0.01]
    """
    if setting.endless or setting.workers == 0:
        return _alone(pieces, setting)
    return _Replay(pieces, setting, host).run()


def warm_up(steps: int, workers: int, prefetch: int) -> int:
    """How many steps at the start are not typical: each worker's first batches, and a queue that is not yet filled."""
    return min(1 + workers * prefetch, steps // 4)


def _alone(pieces: Sequence[Piece], setting: Setting) -> float:
    """Without workers: one thing after the other, but for what the device does beside."""
    now = device = 0.0
    for p in pieces:
        work = 0.0 if setting.endless else sum(_work(p, setting))
        device = max(device, now + work) + p.device
        now += work + p.step_cpu + p.step_blocked
    return max(now, device) / len(pieces)


def _work(piece: Piece, setting: Setting) -> tuple[float, float]:
    """(on a core, blocked) seconds that a batch costs where it is made."""
    d = setting.decode
    on_core = piece.fetch_cpu * d + piece.collate_cpu + (piece.beside if setting.workers else 0.0)
    return on_core, piece.fetch_blocked * d + piece.collate_blocked


class _Replay:
    """Events in order: what runs next to its end decides how far the clock goes on."""

    def __init__(self, pieces: Sequence[Piece], setting: Setting, host: Host) -> None:
        self.pieces, self.host, self.workers = pieces, host, setting.workers
        self.ahead = setting.workers * setting.prefetch
        self.work = [_work(p, setting) for p in pieces]
        self.blocked, self.cpu = [0.0] * self.workers, [0.0] * self.workers
        self.task: list[int] = [-1] * self.workers  # at work on; -1 idle
        self.next = list(range(self.workers))
        self.ready = [math.inf] * len(pieces)
        self.now, self.device, self.first = 0.0, 0.0, 0.0
        self.skip = warm_up(len(pieces), self.workers, setting.prefetch)
        self.step, self.phase = 0, 0  # 0 wants, 1 receives, 2 waits for the worker's word, 3 computes, 4 is blocked
        self.left = math.inf

    def run(self) -> float:
        total = len(self.pieces)
        self._start()
        while self.step < total:
            if self.phase == 0 and self.ready[self.step] < math.inf and self.left == math.inf:
                self.left = 0.0
            self._go_on(*self._until())
        return (max(self.now, self.device) - self.first) / (total - self.skip)

    def _start(self) -> None:
        """Give idle workers what has been asked of them."""
        limit = min(len(self.pieces), self.step + (self.phase > 2) + self.ahead)
        for w in range(self.workers):
            if self.task[w] < 0 and self.next[w] < limit:
                self.task[w] = self.next[w]
                self.next[w] += self.workers
                self.cpu[w], self.blocked[w] = self.work[self.task[w]]

    def _until(self) -> tuple[float, float]:
        """(seconds to the next event, share of a core for each that needs one)."""
        running = sum(t >= 0 and b <= _TINY for t, b in zip(self.task, self.blocked, strict=True))
        wanted = running + (1.0 if self.phase == 1 else self.host.breadth if self.phase == 3 else 0.0)
        rate = self.host.sharing * self.host.cores / wanted if wanted > self.host.cores else 1.0
        ahead = self.left / rate if self.phase in (1, 3) else self.left
        for w in range(self.workers):
            if self.task[w] >= 0:
                ahead = min(ahead, self.blocked[w] if self.blocked[w] > _TINY else self.cpu[w] / rate)
        return ahead, rate

    def _go_on(self, ahead: float, rate: float) -> None:
        self.now += ahead
        freed = False
        for w in range(self.workers):
            if self.task[w] < 0:
                continue
            if self.blocked[w] > _TINY:
                self.blocked[w] -= ahead
            else:
                self.cpu[w] -= ahead * rate
            if self.blocked[w] <= _TINY and self.cpu[w] <= _TINY:
                self.ready[self.task[w]], self.task[w], freed = self.now, -1, True
        if self.left < math.inf:
            self.left -= ahead * rate if self.phase in (1, 3) else ahead
        if freed and self.phase == 2 and self.task[self.step % self.workers] < 0:
            self.left = min(self.left, self.host.answer)  # whoever has finished answers at once
        while self.left <= _TINY:
            freed = self._phase() or freed
        if freed:
            self._start()

    def _phase(self) -> bool:
        """The training process enters its next phase; whether workers may be given more."""
        piece = self.pieces[self.step]
        self.phase = (self.phase + 1) % 5
        at_work = self.phase == 2 and self.task[self.step % self.workers] >= 0
        answer = max(self.host.answer, self.host.busy) if at_work else self.host.answer
        self.left = (math.inf, piece.hand, answer, piece.step_cpu, piece.step_blocked)[self.phase]
        if self.phase == 3:
            if self.step == self.skip:
                self.first = max(self.now, self.device)
            self.device = max(self.device, self.now) + piece.device
            return True
        if self.phase == 0:
            self.step += 1
        if self.step == len(self.pieces):
            self.left = math.inf
        return False


def interval(
    pieces: Sequence[Piece], setting: Setting, host: Host, error: float, draws: int = 24, most: int = 160, seed: int = 0
) -> tuple[float, float, float]:
    """(low, middle, high): seconds a step with a 90 % interval.

    Blocks of ten neighbouring batches are drawn anew, because what is slow comes in bursts; the model's own error, a
    standard deviation of the logarithm, is added to what the draws differ by.

    Args:
        pieces: recorded batches and steps.
        setting: the loader to imagine.
        host: the machine.
        error: of the model.
        draws: resamples.
        most: batches in a resample.
        seed: of the draws.
    """
    middle = seconds_per_step(pieces, setting, host)
    dice, size = random.Random(seed), min(len(pieces), most)
    logs = []
    for _ in range(draws):
        drawn: list[Piece] = []
        while len(drawn) < size:
            first = dice.randrange(max(1, len(pieces) - 9))
            drawn += pieces[first : first + 10]
        logs.append(math.log(max(seconds_per_step(drawn[:size], setting, host), _TINY)))
    mean = math.fsum(logs) / len(logs)
    spread = math.fsum((x - mean) ** 2 for x in logs) / (len(logs) - 1) * size / len(pieces)
    wide = math.exp(1.645 * math.sqrt(spread + error**2))
    return middle / wide, middle, middle * wide
