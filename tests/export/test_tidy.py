"""Text made tidy as ruff would have it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from halftime.export.modules import External
from halftime.export.tidy import all_broken, broken, import_lines, joined, without_examples, without_pragmas

LONG = [
    f"    x = f({', '.join(f'argument_{i}' for i in range(9))})",
    f"    x = f({', '.join(f'argument_{i}' for i in range(19))})",
    f"    x = ({'a' * 60}(progress, n) for n in {'b' * 60})",
    f"    x = [{'a' * 60}(progress, n) for n in {'b' * 40} if n > {'c' * 20}]",
    f"    x = f({'a' * 110}(1, 2))",
    f'    x = f("{"a, (" * 20}", {"b" * 60})',
    f"    weights = g(f({'a' * 50}, {'b' * 50}), {'c' * 40}, d=({'e' * 60}, 2))",
]


def test_long_lines_are_broken_as_the_formatter_does_it(tmp_path: Path) -> None:
    for number, line in enumerate(LONG):
        text = "\n".join(["def f():", *broken(line)]) + "\n"
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(f"def f():\n{line}\n"))
        assert max(map(len, text.splitlines())) <= 120
        (tmp_path / f"line_{number}.py").write_text(text)
    tool = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--line-length", "120", "--diff"]
    done = subprocess.run([*tool, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_brackets_in_comments_and_texts_are_no_place_to_break() -> None:
    code = [
        f"x = 1  # see f({'a, ' * 50})",
        f"    # don't f({'a, ' * 50})",
        f"y = 'it\\'s f({'a, ' * 50})' + \"f({'b, ' * 50})\"",
        '"""One:',
        f"    f({'a, ' * 50})",
        f'    f({"a, " * 50})""" + "f({"b, " * 50})"',
    ]
    assert all_broken("\n".join(code)).split("\n") == code
    cut = all_broken(f"z = f({'a, ' * 60})  # why (so)").split("\n")
    assert (cut[0], cut[-1]) == ("z = f(", ")  # why (so)")


def test_lines_are_joined_without_their_comments() -> None:
    assert joined("f(\n    a,  # one\n    {\n        'b': [c, d],\n    },\n)") == "f(a, {'b': [c, d]})"
    assert joined("(\n    lambda x: x\n)") == "(lambda x: x)"


def test_docstrings_lose_what_is_shown_at_a_prompt() -> None:
    text = '"""One.\n\n    Args:\n        a: b.\n\n    Example:\n        >>> 1\n        1\n    """'
    assert without_examples(text) == '"""One.\n\n    Args:\n        a: b.\n    """'
    assert without_examples('"""One."""') == '"""One."""'
    assert without_pragmas("x = 1  # noqa: E731 - reason\ny = 2  # why") == "x = 1\ny = 2  # why"
    inside = 'x = "y  # noqa"\n    z = """\n# type: ignore\n"""'
    assert without_pragmas(f"{inside}  # why  # noqa: E731") == f"{inside}  # why"


def test_imports_come_in_the_customary_order() -> None:
    found = import_lines(
        [
            External("torch", "nn", "nn"), External("torch", "Tensor", "Tensor"), External("math", None, "math"),
            External("typing", "Any", "Any"), External("torch", None, "torch"), External("numpy", None, "np"),
        ]
    )  # fmt: skip
    assert found == [
        "from __future__ import annotations", "", "import math", "from typing import Any", "",
        "import numpy as np", "import torch", "from torch import Tensor, nn",
    ]  # fmt: skip
