"""When to serve with more workers and when with fewer: decided from measured times alone, no process in sight.

The number of workers that can keep up follows from Little's law (1961): the seconds of work in a batch over the seconds
of a step. The law gives the size of a change; whether the change pays is measured: another number of workers is on
trial, and if a step plus its wait is no shorter it is taken back and left alone for a while. Where the workers are
enough on average and some batches are late, they work further ahead, which costs no process.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import NamedTuple

STALL = 0.01  # of the time: a longer wait than this is worth a change
PAID = 0.02  # and a longer one than this is worth a word
CALM = 0.005  # and below this there may be workers to spare
TWICE = 2  # windows in a row that must stall before a worker is added that the law does not ask for
SPARE, ROOM = 1.35, 1.15  # shrink above, grow to: this many times what Little's law asks for
SLOWER = 1.10  # a step that much longer than it was may be short of the processor
GAIN, LOSS = 0.99, 1.01  # what growing must bring, what shrinking may cost
WINDOW, EARLY = 24, 6  # steps that are looked at together; the fewest, if the stall is plain
PLAIN = 0.10
LONGEST_REST = 64  # steps after a change that are not looked at, at most
FIRST_PAUSE, LONGEST_PAUSE = 150, 4800  # steps for which a change that did not pay is left alone; doubled each time


@dataclass(frozen=True)
class Setting:
    """How batches are made: `workers` processes (0: in this one), each working `prefetch` batches ahead."""

    workers: int
    prefetch: int = 2


class Action(NamedTuple):
    """A change: the setting to go to, and why, in words."""

    setting: Setting
    why: str


class Seen(NamedTuple):
    """What one step showed: seconds waited, seconds of the step, batches that lay ready one step before."""

    wait: float
    step: float
    ready: int


@dataclass(frozen=True)
class Trial:
    """A change whose worth is not known yet."""

    before: Setting
    cost: float
    kind: str  # wider or narrower


class Controller:
    """Keeps the queue of ready batches just ahead of the step: pure, deterministic, without a clock.

    Args:
        setting: what is in force at the start.
        least: the fewest workers; 0 allows to serve in this process.
        most: the most workers, until `limit` says otherwise.
        deepest: the most batches that one worker may work ahead, until `limit` says otherwise.

    Example:
        A step of 10 ms that waits 30 ms for one worker asks for four of them, and one in reserve.

        >>> controller = Controller(Setting(1), most=8)
        >>> actions = [controller.observe(wait=0.03, step=0.01, ready=0, service=0.04) for _ in range(6)]
        >>> actions[-1]
        Action(setting=Setting(workers=5, prefetch=2), why='75 % of the time is waiting for data')
    """

    def __init__(self, setting: Setting, least: int = 0, most: int = 8, deepest: int = 16) -> None:
        self.setting, self.least, self.deepest = setting, least, deepest
        self.most, self.most_why = most, ""
        self.share = 0.0  # of the time that was waiting, in the last window
        self.short = ""  # what keeps the stall: a cap, or what more workers cannot help; "" while there is none
        self._seen: list[Seen] = []
        self._trial: Trial | None = None
        self._rest, self._calm, self._stalled, self._now = 0, 0, 0, 0
        self._quick = math.inf  # the shortest step since the last change that was kept
        self._pause = dict.fromkeys(("wider", "narrower"), FIRST_PAUSE)
        self._until = dict.fromkeys(self._pause, 0)  # not again before this step

    def limit(self, most: int, why: str, deepest: int | None = None) -> None:
        """At most this many workers from now on, because of `why` (memory, CPU), and each so far ahead."""
        self.most, self.most_why = max(self.least, most), why
        self.deepest = deepest or self.deepest

    def observe(self, wait: float, step: float, ready: int, service: float | None = None) -> Action | None:
        """One step has been taken; says what to change, if anything.

        Args:
            wait: seconds that the step waited for its batch.
            step: seconds from having the batch to asking for the next.
            ready: batches that lay ready in a row when the step before began; one of them is being received since then.
            service: seconds of work in one batch, if they are known.
        """
        self._now += 1
        if self.setting.workers > self.most:
            self._trial = None
            return self._to(Setting(self.most, self.setting.prefetch), f"{self.most_why} allows no more")
        if self._rest:
            self._rest -= 1
            return None
        self._seen.append(Seen(wait, step, ready))
        early = not self._trial and len(self._seen) >= EARLY and self._late() > PLAIN
        enough = early or len(self._seen) >= WINDOW
        if not enough:
            return None
        self.share = self._share()
        action = self._judged(service) if self._trial else self._decide(service)
        self._seen.clear()
        return action

    def _wait(self) -> float:
        return statistics.fmean(s.wait for s in self._seen)

    def _step(self) -> float:
        return max(1e-9, statistics.median(s.step for s in self._seen))

    def _share(self) -> float:
        return self._wait() / (self._wait() + self._step())

    def _judged(self, service: float | None) -> Action | None:
        """Keep the change on trial or take it back; workers that are enough on average go further ahead before."""
        trial, cost = self._trial, self._wait() + self._step()
        assert trial is not None
        cured = trial.kind == "narrower" or self._late() <= STALL
        if not cured and self._enough(service) and self.setting.prefetch < self.deepest:
            return self._deeper()
        self._trial, kind, self._quick = None, trial.kind, self._step()
        if cost <= trial.cost * (LOSS if cured else GAIN):
            self._pause[kind] = FIRST_PAUSE
            return None
        self._until[kind] = self._now + self._pause[kind]
        self._pause[kind] = min(LONGEST_PAUSE, 2 * self._pause[kind])
        if kind == "narrower":
            return self._to(trial.before, "taken back: fewer made a step with its wait longer")
        self.short = "slow batches" if self._spiky() else "work"
        return self._to(trial.before, "taken back: more did not shorten a step with its wait")

    def _decide(self, service: float | None) -> Action | None:
        step, late = self._step(), self._late()
        slower = step > SLOWER * self._quick
        self._quick = min(self._quick, step)
        if late > STALL:
            self._calm, self._stalled = 0, self._stalled + 1
            return self._grown(service)
        self._stalled = 0
        self.short = "handing over" if self.share > PAID else ""
        if late > CALM or not self._may("narrower"):
            return None
        self._calm += 1
        return self._shrunk(service, slower) if slower or self._calm >= 4 else None

    def _wanted(self, service: float | None, reserve: float) -> int:
        """Workers that keep up with the step on average, so many times over: Little's law."""
        now, step = self.setting, self._step()
        work = now.workers * (self._wait() + step) if now.workers else self._wait()
        return math.ceil(reserve * (work if service is None else service) / step)

    def _enough(self, service: float | None) -> bool:
        """Are there workers to spare on average? Then some batches are late."""
        workers = self.setting.workers
        return bool(workers) and (self._spiky() if service is None else self._wanted(service, SPARE) <= workers)

    def _deeper(self) -> Action:
        now = self.setting
        deeper = Setting(now.workers, min(2 * now.prefetch, self.deepest))
        return self._to(deeper, f"{self._told()}, for a few late batches")

    def _told(self) -> str:
        return f"{self.share:.0%} of the time is waiting for data".replace("%", " %")

    def _grown(self, service: float | None) -> Action | None:
        now, few, wanted = self.setting, self._enough(service), self._wanted(service, ROOM)
        if few and now.prefetch < self.deepest:
            return self._deeper()
        if few and self._stalled < TWICE:
            return None
        wanted = min(max(wanted, now.workers + 1), 2 * now.workers + 4, self.most)
        if wanted <= now.workers:
            self.short = "slow batches" if few and self._spiky() else self.most_why or "the limit on workers"
            return None
        return self._on_trial("wider", Setting(wanted, now.prefetch), self._told()) if self._may("wider") else None

    def _shrunk(self, service: float | None, slower: bool) -> Action | None:
        now, step = self.setting, self._step()
        if now.workers <= self.least:
            return None
        here = STALL * step  # less work than that is not worth a worker
        wanted = now.workers - 1
        if service is not None:
            wanted = max(math.ceil(SPARE * service / step), self.least)
            if wanted == 1 and self.least == 0 and service < here:
                wanted = 0
        if wanted >= now.workers and slower:
            wanted = now.workers - 1
        if wanted >= now.workers or (wanted == 0 and service is not None and service >= here):
            return None
        why = "the step has become slower: the processor may be needed there" if slower else "fewer can keep up"
        return self._on_trial("narrower", Setting(wanted, now.prefetch), why)

    def _may(self, kind: str) -> bool:
        return self._now >= self._until[kind]

    def _late(self) -> float:
        """The share of the time that was waiting for batches not yet made; another worker does not hand over sooner."""
        return sum(s.wait for s in self._seen if not s.ready) / len(self._seen) / (self._wait() + self._step())

    def _spiky(self) -> bool:
        """Do few of the steps hold most of the waiting?"""
        waits = sorted((s.wait for s in self._seen), reverse=True)
        return len(waits) >= WINDOW and sum(waits[: len(waits) // 6]) > 0.8 * sum(waits)

    def _on_trial(self, kind: str, setting: Setting, why: str) -> Action:
        self._trial = Trial(self.setting, self._wait() + self._step(), kind)
        return self._to(setting, why)

    def _to(self, setting: Setting, why: str) -> Action:
        """Until the change has taken effect nothing is judged: what was ordered before comes first, a depth fills."""
        before, ordered = self.setting, max(self.setting.workers, setting.workers) * setting.prefetch
        self._rest = 6 + min(LONGEST_REST, setting.prefetch if before.workers == setting.workers else ordered)
        self._seen.clear()
        self._calm = self._stalled = 0
        self.setting = setting
        return Action(setting, why)
