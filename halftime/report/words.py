"""Words and numbers for a page: formats, and the cleaning of all that comes from outside."""

from __future__ import annotations

import contextlib
import getpass
import math
import re
import socket
import time
import unicodedata
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

NONE = "–"
_PLACE = re.compile(
    r"""(?: \b[A-Za-z][\w+.-]*://     # a link names a machine or a file
          | (?<![\w./~:\\-])~[\w.-]*/  # somebody's home
          | (?<![\w./~\\-])/(?=[\w.@+~-])
          | (?<!\w)[A-Za-z]:[\\/](?!/)
          | \\\\(?=\w) )
        [^\s'"<>|:;,()\[\]{}]*""",
    re.VERBOSE,
)
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")


def clean(text: object) -> str:
    """Text that is safe to show: no absolute path (a file keeps its name), no control or invisible characters.

    Markup is not the matter here: it is escaped where it is put on the page.

    Example:
        >>> clean("no space on /home/ada/runs/weights.bin")
        'no space on …/weights.bin'
    """
    shown = "".join(
        c if c == "\n" or unicodedata.category(c) not in _HIDDEN else "\N{REPLACEMENT CHARACTER}" for c in str(text)
    )
    return _PLACE.sub(_file_name, shown)


_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def _file_name(found: re.Match[str]) -> str:
    """What is left of a path: the name if it is a file's, as the name of a folder may be a person's."""
    path = re.sub(r"^((?!file:)[\w+.-]+://|\\\\)[^\\/]*", "", found.group())  # the name of a machine
    last = re.split(r"[\\/]", path)[-1]
    return f"…/{last}" if re.search(r"\w\.\w", last) else "…"


def private(text: str, names: Iterable[str]) -> str:
    """`text` without the names and addresses of machines and the names of people."""
    text = _ADDRESS.sub("…", text)
    for name in sorted({n for n in names if len(n) > 2}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def names_here() -> set[str]:
    """What this machine and its user are called."""
    host = socket.gethostname()
    found = {host, host.partition(".")[0], Path.home().name}
    with contextlib.suppress(OSError, KeyError, ImportError):
        found.add(getpass.getuser())
    return found - {"root", "localhost", "home", "user"}


def short(value: float | None, digits: int = 4) -> str:
    """A number to some significant digits, with a true minus sign; a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−").replace("e+", "e")


def floored(value: float | None, digits: int = 4) -> str:
    """As `short`, but never more than the value: for the lower end of an interval.

    Example:
        >>> floored(-0.00441, 2), floored(0.0449, 2), floored(None)
        ('−0.0045', '0.044', '–')
    """
    return short(_rounded(value, digits, ROUND_FLOOR), digits)


def raised(value: float | None, digits: int = 4) -> str:
    """As `short`, but never less than the value: for an upper end, and for a margin.

    Example:
        >>> raised(0.12341, 3), raised(9.96, 2)
        ('0.124', '10')
    """
    return short(_rounded(value, digits, ROUND_CEILING), digits)


def _rounded(value: float | None, digits: int, how: str) -> float | None:
    if not value or not math.isfinite(value):
        return value
    number = Decimal(repr(float(value)))
    return float(number.quantize(Decimal(1).scaleb(number.adjusted() - digits + 1), rounding=how))


def exact(value: float | None) -> str:
    """A measured number for a table: four digits, also where the last ones are 0, so that columns compare."""
    if value is None or not math.isfinite(value) or value == 0:
        return short(value)
    if 1e3 <= abs(value) < 1e7:
        return f"{value:.0f}".replace("-", "−")
    return f"{value:#.4g}".removesuffix(".").replace("-", "−").replace("e+", "e")


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign."""
    return short(value, digits) if value is None or not value > 0 else f"+{short(value, digits)}"


def change(value: float) -> str:
    """A difference in words, such as 'better by 0.014'; positive is better."""
    if value == 0:
        return "the same"
    return f"{'better' if value > 0 else 'worse'} by {short(abs(value), 2)}"


def times(ratio: float) -> str:
    """A ratio such as '2.31×'."""
    if math.isinf(ratio):
        return "no upper end"
    return f"{ratio:.2f}×" if ratio < 1e4 else f"{short(ratio, 3)}×"


def unit(seconds: float) -> tuple[str, float]:
    """Name and length in seconds of the unit in which so long a time is best read."""
    if seconds < 600:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 36000 else ("hours", 3600.0)


def duration(seconds: float | None) -> str:
    """Seconds in words, to three digits, such as '12.3 s', '45.1 min' or '10.2 h'."""
    if seconds is None or math.isnan(seconds):
        return NONE
    name, length = unit(abs(seconds))
    value = seconds / length
    shown = (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:#.3g}".removesuffix(".")
        if abs(value) >= 1e-3
        else short(value, 3)
    )
    return f"{shown} {({'seconds': 's', 'minutes': 'min', 'hours': 'h'})[name]}"


def energy(joules: float | None) -> str:
    """Joules in words, such as '812 J', '3.21 kJ' or '1.2 kWh'."""
    if joules is None:
        return "not counted"
    if joules >= 3.6e5:
        return f"{short(joules / 3.6e6, 3)} kWh"
    return f"{short(joules / 1e3, 3)} kJ" if joules >= 1e3 else f"{short(joules, 3)} J"


def date(seconds: float) -> str:
    """A moment, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return NONE


def count(number: int, noun: str) -> str:
    """'1 seed', '5 seeds'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def fit(text: str, letters: int) -> str:
    """Text cut to a number of letters, with an ellipsis where something is missing."""
    return text if len(text) <= letters else text[: max(1, letters - 1)].rstrip() + "…"
