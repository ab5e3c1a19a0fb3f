"""Arithmetic in values, ``$(...)``: ``+ - * / // %`` and parentheses on numbers, nothing else.

Bounded: at most 100 parts, numbers of at most 18 digits, results below 10**18.
"""

from __future__ import annotations

import re

PARTS = 100
LARGEST = 10**18

_TOKEN = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?(?![\d.])|//|[-+*/%()])", re.ASCII)
_LOOKS = re.compile(r"[\d\s.+\-*/%()]*", re.ASCII)

Number = int | float


def looks_like_arithmetic(text: str) -> bool:
    """Made of digits and operators only; ``$(hostname)`` is not, and stays as it is written."""
    return bool(text.strip()) and _LOOKS.fullmatch(text) is not None


def calculate(text: str) -> str:
    """The result as text, whole where it is whole; ValueError with a sentence when there is none."""
    tokens, at, stripped = list[str](), 0, text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if not found or len(tokens) >= PARTS:
            raise _not_arithmetic(text)
        tokens.append(found[1])
        at = found.end()
    tokens.reverse()  # the next token is the last one, so that taking it costs nothing
    value = _sum(tokens, text)
    if tokens:
        raise _not_arithmetic(text)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _not_arithmetic(text: str) -> ValueError:
    return ValueError(f"$({text[:80]}) is not arithmetic on numbers: + - * / // % and parentheses")


def _sum(tokens: list[str], text: str) -> Number:
    value = _product(tokens, text)
    while tokens and tokens[-1] in ("+", "-"):
        sign = tokens.pop()
        other = _product(tokens, text)
        value = _bounded(value + other if sign == "+" else value - other, text)
    return value


def _product(tokens: list[str], text: str) -> Number:
    value = _atom(tokens, text)
    while tokens and tokens[-1] in ("*", "/", "//", "%"):
        operator = tokens.pop()
        value = _bounded(_apply(operator, value, _atom(tokens, text), text), text)
    return value


def _apply(operator: str, left: Number, right: Number, text: str) -> Number:
    if operator == "*":
        return left * right
    if right == 0:
        raise ValueError(f"$({text[:80]}) divides by zero")
    if operator == "%":
        return left % right
    if operator == "//" or (isinstance(left, int) and isinstance(right, int) and left % right == 0):
        return left // right
    return left / right


def _atom(tokens: list[str], text: str) -> Number:
    part = tokens.pop() if tokens else ""
    if part == "-":
        return -_atom(tokens, text)
    if part == "(":
        value = _sum(tokens, text)
        if tokens and tokens.pop() == ")":
            return value
    elif part[:1].isdigit():
        return float(part) if "." in part else int(part)
    raise _not_arithmetic(text)


def _bounded(value: Number, text: str) -> Number:
    if abs(value) >= LARGEST:
        raise ValueError(f"$({text[:80]}) is out of range")
    return value
