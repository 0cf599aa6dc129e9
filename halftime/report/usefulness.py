"""The page of `halftime data usefulness`: a histogram of the scores, and the samples at both ends."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from markupsafe import Markup

from halftime.report.page import render
from halftime.report.svg import Chart, Frame, Scale

BINS = 32
MEANING = {
    "el2n": "the length of the error of its probabilities, from nothing to the root of two",
    "margin": "how far a wrong class is ahead of the true one, from minus one to one",
    "forgetting": "how often it was right and then wrong again; most of all if it never was right",
}


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample as it is shown.

    Args:
        id: its number in the data set.
        score: of it.
        label: its target, in words.
        picture: a PNG in base64; empty where it is no image.
        words: what is shown of it where it is no image.
    """

    id: int
    score: float
    label: str
    picture: str = ""
    words: str = ""

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", self.picture), "it goes into the page as it is"


@dataclasses.dataclass(frozen=True)
class Usefulness:
    """What was found.

    Args:
        workload: its name.
        score: by which score.
        how: what the proxy was, in a sentence.
        scores: of all samples.
        easiest: samples with the lowest scores, the lowest first.
        hardest: those with the highest, the highest first.
    """

    workload: str
    score: str
    how: str
    scores: Sequence[float]
    easiest: Sequence[Sample]
    hardest: Sequence[Sample]

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.scores)


def usefulness_page(found: Usefulness) -> str:
    """One self-contained HTML document; it loads nothing and runs no script.

    Example:
        >>> one = Sample(3, 0.5, "class 1")
        >>> page = usefulness_page(Usefulness("digits", "el2n", "", [0.1, 0.5], [one], [one]))
        >>> "sample 3" in page, "<script" in page
        (True, False)
    """
    hard = "The most useful, unless they are labelled wrongly: these are worth a look by eye."
    easy = "Learned from one of them, the others have little to add."
    ends = [("The hardest", hard, found.hardest), ("The easiest", easy, found.easiest)]
    return render(
        "usefulness.html.jinja",
        title=f"Usefulness of {found.workload}",
        found=found,
        meaning=MEANING[found.score],
        chart=Markup(str(histogram(found.scores, found.score))),
        ends=ends,
    )


def counts(scores: Sequence[float], bins: int = BINS) -> list[tuple[float, float, int]]:
    """(from, to, how many) of bins of equal width; whole numbers have a bin each where they are few.

    Example:
        >>> counts([0.0, 1.0, 1.0, 3.0])
        [(-0.5, 0.5, 1), (0.5, 1.5, 2), (1.5, 2.5, 0), (2.5, 3.5, 1)]
    """
    low, high = min(scores), max(scores)
    if all(float(s).is_integer() for s in scores) and high - low < bins:
        low, high, bins = low - 0.5, high + 0.5, int(high - low) + 1
    width = (high - low) / bins or 1.0
    many = [0] * bins
    for score in scores:
        many[min(bins - 1, int((score - low) / width))] += 1
    return [(low + i * width, low + (i + 1) * width, n) for i, n in enumerate(many)]


def histogram(scores: Sequence[float], score: str) -> Chart:
    """Bars that count samples by score."""
    found = counts(scores)
    most = max(n for *_, n in found)
    frame = Frame(58, 34, 716, 230)
    described = f"{len(scores)} samples from {min(scores):.3g} to {max(scores):.3g}; the fullest bin holds {most}."
    chart = Chart("scores", f"Samples by {score}", described, 720, 276)
    x, y = Scale(found[0][0], found[-1][1], frame.left, frame.right), Scale(0.0, most * 1.04, frame.bottom, frame.top)
    chart.y_axis(y, frame, "samples")
    chart.x_axis(x, frame, score)
    for low, high, n in found:
        top = y(n)
        chart.rect(x(low) + 0.5, top, x(high) - x(low) - 1.0, frame.bottom - top, "bar")
    return chart
