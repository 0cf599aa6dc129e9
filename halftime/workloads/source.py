"""Source: a workload by its built-in name or from a user's Python file, for the command line and for workers."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime import workloads
from halftime.errors import BadData, BadWorkload, shorten

if TYPE_CHECKING:
    from halftime.workload import Workload


def find(text: str, target: float | None = None) -> tuple[Workload, tuple[Any, ...], str]:
    """Find a workload.

    Args:
        text: a built-in name, or the path of a Python file that defines `workload` and perhaps `methods`.
        target: a validation score to reach instead of its own.

    Returns:
        The workload, the method classes that its file defines, and where it was found: what another process on this
        machine can be given to find the same.

    Raises:
        InputError: there is none.

    Example:
        >>> find("digits")[2]
        'digits'
    """
    from halftime.workload import Workload

    if not text.endswith(".py"):
        return workloads.get(text, target), (), text
    module = load(Path(text), "workload")
    found = getattr(module, "workload", None)
    if not isinstance(found, Workload):
        raise BadWorkload(f"{text} must define `workload`, a halftime.Workload; it is {shorten(found)}")
    found = found if target is None else dataclasses.replace(found, target=target)
    return found, _methods(module, text), str(Path(text).resolve())


def _methods(module: Any, text: str) -> tuple[Any, ...]:
    """The methods that a user's file lists; a module of that name is something else."""
    found = getattr(module, "methods", ())
    if isinstance(found, types.ModuleType):
        return ()
    if not isinstance(found, (tuple, list)) or not all(isinstance(m, type) and hasattr(m, "slot") for m in found):
        raise BadWorkload(f"{text}: `methods` must be a list of classes of methods, not {shorten(found)}")
    return tuple(found)


def load(path: Path, what: str) -> Any:
    """Run a user's Python file as a module.

    Args:
        path: of the file.
        what: it is for, a part of the module's name.
    """
    text_of(path)
    spec = importlib.util.spec_from_file_location(f"halftime_user_{what}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadData(f"cannot load {path} as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file look themselves up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise BadData(f"{path}, line {error.lineno}: {error.msg}") from None
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:  # for what its functions import later, after everything else
            sys.path.append(folder)
    return module


def text_of(path: Path) -> str:
    """The text of a user's file."""
    try:
        return path.read_text()
    except FileNotFoundError:
        raise BadData(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"cannot read {path}: {error}") from None
