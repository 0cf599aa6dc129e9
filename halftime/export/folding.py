"""What the fields of a method decide already when a script is written."""

from __future__ import annotations

import ast
from typing import Any


def decided(node: ast.AST, method: Any) -> tuple[Any] | None:
    """(What an expression is), where only fields of `self` and literals decide; None where more does."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id != "self":
            return None
        if isinstance(part, (ast.Call, ast.Subscript, ast.JoinedStr, ast.Lambda)):
            return None
    return (_decide(node, method),)


def _decide(node: Any, method: Any) -> Any:
    """The value of an expression of fields and literals."""
    if isinstance(node, ast.Attribute):
        return getattr(method, node.attr)
    if isinstance(node, ast.BoolOp):
        result = None
        for value in node.values:
            result = _decide(value, method)
            if bool(result) is isinstance(node.op, ast.Or):
                break
        return result
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _decide(node.operand, method)
    if isinstance(node, ast.Compare):
        left, outcome = _decide(node.left, method), True
        for operator, right in zip(node.ops, node.comparators, strict=True):
            value = _decide(right, method)
            outcome, left = outcome and _COMPARE[type(operator)](left, value), value
        return outcome
    return ast.literal_eval(node)


_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
