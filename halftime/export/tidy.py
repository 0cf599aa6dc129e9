"""Text of a script made tidy: what only our own tools read is left out, long lines are broken, imports are sorted."""

from __future__ import annotations

import io
import itertools
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable

from halftime.export.modules import External

WIDTH = 120  # characters of a line
_TEXT = re.compile(r"""#.*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")  # a comment or a text, within a line
_PRAGMA = re.compile(r"[ ]*# (?:type: ignore|noqa|fmt:|pragma:)[^\n]*")
_SECTION = re.compile(r"^\s*(Args|Returns|Raises|Yields|Note|Example|Examples):\s*$")


def without_pragmas(text: str) -> str:
    """Source without the comments that speak to type checkers and linters.

    Example:
        >>> without_pragmas("x = f()  # type: ignore[attr-defined]")
        'x = f()'
    """
    if not _PRAGMA.search(text):
        return text
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(f"(\n{text}\n)").readline):  # in brackets: indents do not matter
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 2, token.start[1]
            lines[row] = (lines[row][:column] + _PRAGMA.sub("", token.string)).rstrip()
    return "\n".join(lines)


def without_examples(docstring: str) -> str:
    """The source of a docstring without what it shows at a prompt.

    Example:
        >>> without_examples('\"\"\"Add one.\\n\\n    >>> add(1)\\n    2\\n    \"\"\"')
        '\"\"\"Add one.\"\"\"'
    """
    kept: list[str] = []
    skipping = False
    for line in docstring.splitlines():
        if _SECTION.match(line):
            skipping = line.strip().startswith("Example")
        elif line.lstrip().startswith(">>> "):
            skipping = True
        if not skipping:
            kept.append(line)
    if len(kept) == len(docstring.splitlines()):
        return docstring
    while kept and not kept[-1].strip():
        kept.pop()
    if len(kept) == 1:
        return f'{kept[0].rstrip()}"""'
    indent = re.match(r"\s*", docstring.splitlines()[-1])
    return "\n".join([*kept, f'{indent.group() if indent else ""}"""'])


def joined(text: str) -> str:
    """Code that stands in brackets over several lines as one line; its comments are dropped.

    Example:
        >>> joined("f(\\n    a,  # first\\n    b,\\n)")
        'f(a, b)'
    """
    result, before = "", None
    skipped = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in skipped:
            continue
        if before is not None and before.end[0] == token.start[0]:
            result += " " * (token.start[1] - before.end[1])
        elif before is not None and token.string in ")]}":
            result = result.removesuffix(",")
        elif before is not None and before.string not in ("(", "[", "{"):
            result += " "
        result, before = result + token.string, token
    return result


def all_broken(text: str) -> str:
    """Code with those lines broken that are too long; what is inside a text or a comment stays as it is.

    Example:
        >>> all_broken("f(" + "a" * 119 + ")").splitlines()[0]
        'f('
    """
    lines = text.split("\n")
    if all(len(line) <= WIDTH for line in lines):
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    whole = {row for t in tokens if t.start[0] < t.end[0] for row in range(t.start[0], t.end[0] + 1)}
    return "\n".join(p for row, line in enumerate(lines, 1) for p in ([line] if row in whole else broken(line)))


def broken(line: str) -> list[str]:
    """A line of code, broken at its outermost brackets where it is too long.

    Example:
        >>> broken("f(" + "a" * 119 + ")")[0]
        'f('
    """
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    for begin, end in _brackets(line):
        inner, tail = line[begin + 1 : end], line[end:]
        head = line[: begin + 1]
        if len(head) > WIDTH or not inner.strip() or len(tail) + len(indent) > WIDTH:
            continue
        if len(indent) + 4 + len(inner) <= WIDTH:
            return [head, f"{indent}    {inner}", indent + tail]
        parts = _clauses(inner) or _parts(inner)
        comma = "," if not _clauses(inner) and (len(parts) > 1 or _called(line, begin)) else ""
        lines = [piece for part in parts for piece in broken(f"{indent}    {part}{comma}")]
        return [head, *lines, indent + tail]
    return [line]


def _called(line: str, begin: int) -> bool:
    """Whether a bracket holds the arguments of a call."""
    return line[begin] == "(" and bool(re.search(r"[\w)\]]$", line[:begin]))


def _clauses(inner: str) -> list[str]:
    """A comprehension in brackets, its `for` and `if` apart; nothing where it is none."""
    depths = _depths(inner)
    cuts = [m.start() for m in re.finditer(r" (?:for|if) ", inner) if depths[m.start()] == 0]
    if len(_parts(inner)) > 1 or not any(inner.startswith(" for ", cut) for cut in cuts):
        return []
    ends = [*cuts, len(inner)]
    return [inner[: ends[0]], *(inner[a + 1 : b] for a, b in itertools.pairwise(ends))]


def _depths(line: str) -> list[int]:
    """How many brackets are open at each character; -1 inside a text or a comment."""
    found, depth = [], 0
    hidden = {i for part in _TEXT.finditer(line) for i in range(*part.span())}
    for i, c in enumerate(line):
        if i in hidden:
            found.append(-1)
            continue
        depth -= c in ")]}"
        found.append(depth)
        depth += c in "([{"
    return found


def _brackets(line: str) -> list[tuple[int, int]]:
    """Outermost pairs of brackets, the last one first."""
    at = [i for i, depth in enumerate(_depths(line)) if depth == 0 and line[i] in "()[]{}"]
    return list(zip(at[::2], at[1::2], strict=False))[::-1]


def _parts(inner: str) -> list[str]:
    """What commas separate, outside of any brackets."""
    cuts = [-1, *(i for i, depth in enumerate(_depths(inner)) if depth == 0 and inner[i] == ","), len(inner)]
    return [part for a, b in itertools.pairwise(cuts) if (part := inner[a + 1 : b].strip())]


def import_lines(imports: Iterable[External]) -> list[str]:
    """Import statements in the customary order: the standard library, then the others."""
    whole: set[tuple[str, str]] = set()
    parts: dict[str, set[str]] = defaultdict(set)
    for one in imports:
        if one.what is None:
            plain = one.bound == one.module.split(".")[0]
            whole.add((one.module, f"import {one.module}" if plain else f"import {one.module} as {one.bound}"))
        else:
            parts[one.module].add(one.what if one.what == one.bound else f"{one.what} as {one.bound}")
    lines = ["from __future__ import annotations"]
    for standard in (True, False):
        of = [(m, text) for m, text in sorted(whole, key=lambda p: (p[0].lower(), p[1])) if _standard(m) is standard]
        some = [m for m in sorted(parts, key=str.lower) if _standard(m) is standard]
        if of or some:
            lines.append("")
        lines += [text for _, text in of]
        lines += [line for m in some for line in broken(_from(m, parts[m]))]
    return lines


def _from(module: str, names: set[str]) -> str:
    def rank(name: str) -> tuple[int, str, str]:
        bare = name.split(" ")[0]
        kind = 0 if bare.isupper() and len(bare) > 1 else 1 if bare[:1].isupper() else 2
        return kind, bare.lower(), bare

    return f"from {module} import {', '.join(sorted(names, key=rank))}"


def _standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names
