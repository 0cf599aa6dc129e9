"""A loader without processes: workers, queues and clock are numbers. Lanes, draws and order are those of `Pool`.

A batch is received while the step runs, as the courier does; it takes its time from when it was sent for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from halftime.data.controller import Controller, Setting

MS = 1e-3
ALONE = Setting(0)


@dataclass(frozen=True)
class Regime:
    """How long things take: `service` and `step` are seconds for (batch or step number, workers)."""

    service: Callable[[int, int], float]
    step: Callable[[int, int], float]
    hand: float = 0.7 * MS  # receiving a batch from a worker
    least: int = 0
    most: int = 8
    why: str = ""
    feasible: bool = True
    since: int = 0  # the step from which on it has another nature
    missing: str = ""


class Simulated:
    """Serves numbered batches; `take` returns (seconds waited, batches that lay ready a step before)."""

    def __init__(self, regime: Regime, setting: Setting) -> None:
        self.regime, self.now, self.sent, self.ready, self.drawn = regime, 0.0, 0.0, 0, 0
        self.lanes: list[list[float]] = []  # [free at, prefetch, going]
        self.order: deque[tuple[list[float] | None, float]] = deque()
        self.towards(setting)

    def draw(self, lane: list[float]) -> None:
        lane[0] = max(lane[0], self.now) + self.regime.service(self.drawn, len(self.lanes))
        self.drawn += 1
        self.order.append((lane, lane[0]))

    def towards(self, setting: Setting) -> None:
        """All moves at once: the pool makes one a step."""
        while len(self.lanes) > setting.workers:
            self.lanes.pop()[2] = 1
        for lane in self.lanes:
            while lane[1] < setting.prefetch:
                lane[1] += 1
                self.draw(lane)
        while len(self.lanes) < setting.workers:
            lane = [self.now + 20 * MS, setting.prefetch, 0]
            self.lanes.append(lane)
            for _ in range(setting.prefetch):
                self.draw(lane)

    def take(self) -> tuple[float, int]:
        asked, ready = self.now, self.ready
        if self.order:
            lane, done = self.order.popleft()
            self.now = max(self.now, max(done, self.sent) + self.regime.hand)
            if lane is not None and not lane[2]:
                self.draw(lane)
        else:
            self.now += self.regime.service(self.drawn, 0)
            self.drawn += 1
        self.sent, self.ready = self.now, 0
        for _, done in self.order:
            if done > self.now:
                break
            self.ready += 1
        return self.now - asked, ready


@dataclass
class Played:
    """What came out: seconds waited and seconds of every step, and the setting at it."""

    waits: list[float]
    steps: list[float]
    settings: list[Setting]

    def stall(self, since: int = 0) -> float:
        waited = sum(self.waits[since:])
        return waited / (waited + sum(self.steps[since:]))

    def seconds(self, since: int = 0) -> float:
        return sum(self.waits[since:]) + sum(self.steps[since:])


def played(regime: Regime, controller: Controller | None, steps: int, fixed: Setting = ALONE) -> Played:
    """A run of so many steps by a controller, or with a fixed setting."""
    loader, out = Simulated(regime, controller.setting if controller else fixed), Played([], [], [])
    mean = 0.0
    for number in range(steps):
        wait, ready = loader.take()
        step = regime.step(number, len(loader.lanes))
        loader.now += step
        out.waits.append(wait)
        out.steps.append(step)
        out.settings.append(controller.setting if controller else fixed)
        work = regime.service(number, len(loader.lanes))
        mean = work if number == 0 else 0.9 * mean + 0.1 * work
        if controller and controller.observe(wait, step, ready, mean):
            loader.towards(controller.setting)
    return out
