"""The terminal's view of a run in progress: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Self

from tqdm import tqdm

from halftime.measure.plan import OPEN
from halftime.recipe import Recipe

PAUSE = 5.0  # seconds at least between two plain lines


class Live:
    """Shows score, time left and steps a second; writes to stderr only.

    Args:
        name: of the workload.
        recipe: shown once.
        seed: shown once.
        target: shown beside the score, if there is one.
        quiet: True shows nothing, False plain lines, None a bar where stderr is a terminal.
        begun: steps of earlier attempts, which say nothing about the speed of this one.
    """

    def __init__(
        self, name: str, recipe: Recipe, seed: int, target: float | None, quiet: bool | None, begun: int = 0
    ) -> None:
        self.title = f"{name} · {recipe} · seed {seed}"
        self.target, self.quiet, self.begun = target, quiet, begun
        self._bar: tqdm[object] | None = None
        self._score, self._spoke = "", 0.0

    def __enter__(self) -> Self:
        if self.quiet is None and sys.stderr.isatty():
            layout = "{percentage:3.0f}% {bar:24} step {n_fmt}/{total_fmt} · {rate_fmt} · {remaining} left{postfix}"
            self._bar = tqdm(
                bar_format=layout, unit=" steps", dynamic_ncols=True, leave=True, mininterval=0, initial=self.begun
            )
        self.say(self.title)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> str:
        """Show a line, and return it."""
        if self.quiet is not True:
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)
        return text

    def show(self, step: int, total: int, seconds: float) -> None:
        """Where the run stands, now and then."""
        if self._bar is not None and total != OPEN:
            self._bar.total, self._bar.n = total, step
            self._bar.set_postfix_str(f"{seconds:.1f} s{self._score}", refresh=True)

    def judged(self, step: int, total: int, seconds: float, score: float) -> None:
        """A validation score has come in."""
        aim = f" (target {self.target:g})" if self.target is not None else ""
        self._score = f" · score {score:.4f}{aim}"
        if self._bar is not None:
            self.show(step, total, seconds)
        elif step == total or time.monotonic() - self._spoke > PAUSE:
            self._spoke = time.monotonic()
            left = seconds / step * (total - step)
            pace = f"{seconds:.1f} s · {step / seconds:.0f} steps/s · {left:.0f} s left"
            self.say(f"  step {step}/{total} · {pace}{self._score}")
