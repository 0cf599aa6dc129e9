"""The command line: one file a verb. Torch is imported by the verbs that need it, when they run."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

from halftime.errors import HalftimeError, Lost, Stopped, unknown

MANNERS = 2.0  # seconds that other ranks leave to rank 0
VERBS = {
    "demo": "the whole story in a few minutes; works offline, too",
    "workloads": "what can be trained out of the box",
    "methods": "the speed-ups there are, and what each was measured to give",
    "evidence": "measure what a method gives, against the same recipe without it",
    "train": "train a workload by a recipe",
    "tune": "choose a recipe's learning rate from short full trainings",
    "diagnose": "say what the training waits for, and what would help",
    "search": "find a faster recipe within some hours, and prove it",
    "noise": "how much runs differ by luck, and what it costs to show a gain",
    "prove": "show whether one recipe reaches the target sooner than another",
    "ablate": "take a recipe apart: what each of its changes is worth",
    "export": "write a recipe as a plain PyTorch script that needs no halftime",
    "runs": "list the ledger",
    "show": "one run of the ledger",
    "report": "write a page about a proof or about runs",
    "ledger": "rebuild the ledger's index, or verify its records",
    "data": "pack a workload's data, look at a pack or verify it, or see which samples are useful",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        """Leave with one line and exit code 2."""
        if message.startswith("unrecognized arguments: "):
            name = message.split(": ", 1)[1].split()[0]
            options = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
            message = str(unknown("argument", name.split("=")[0], options))
        fail(f"{self.prog}: {message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 target missed or difference not shown, 2 input wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog="halftime",
        description="Make training reach your target sooner, and prove it.",
        epilog=_verbs(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", metavar="VERB", help="one of the verbs below; VERB --help says more")
    parser.add_argument("--version", action="version", version=_version())
    try:
        verb = parser.parse_args(given[:1]).verb
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        module = importlib.import_module(f"halftime.cli.{verb}")
        inner = Parser(prog=f"halftime {verb}", description=module.__doc__, allow_abbrev=False)
        module.arguments(inner)
        return int(module.run(inner.parse_args(given[1:])))
    except HalftimeError as error:
        if os.environ.get("RANK", "0") != "0" and not isinstance(error, Lost):
            time.sleep(MANNERS)  # rank 0 says it too, and then torchrun ends this one: one line, not one a rank
        fail(f"halftime: {error}")
    except Stopped as stopped:
        text = (
            str(stopped)
            if verb == "train"
            else f"{verb} was stopped; what was trained is in the ledger: give the same call again"
        )
        fail(f"halftime: {text}", 128 + stopped.signal)
    except KeyboardInterrupt:
        fail("halftime: interrupted", 130)
    except BrokenPipeError:  # the reader, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("HALFTIME_DEBUG"):
            raise
        fail(
            f"halftime: {_where(error)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            " (HALFTIME_DEBUG=1 shows all of it)"
        )


def fail(message: str, code: int = 2) -> NoReturn:
    """Leave with one line on stderr."""
    print(" ".join(message.split("\n")), file=sys.stderr)
    raise SystemExit(code)


def _where(error: Exception) -> str:
    """The last line outside halftime that raised: a user's own code, most often."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and f"{os.sep}halftime{os.sep}" not in f.filename]
    frame = (own or list(frames))[-1]
    return f"{os.path.relpath(frame.filename)}, line {frame.lineno}"


def _verbs() -> str:
    return "verbs:\n" + "\n".join(f"  {name:10} {what}" for name, what in VERBS.items())


def _version() -> str:
    from halftime import __version__

    return __version__
