"""Functions of texts in functions of rows: the host computes them before, as columns that the program reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.tracing import Frame, tensor
from etude.compiler.values import Tensor, TextColumn, TextValue, describe

# Functions of a text: the names of what else they take, texts all, and what they give.
FUNCTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "length": ((), "int32"),
    "lines": ((), "int32"),
    "words": ((), "int32"),
    "count": (("part",), "int32"),
    "contains": (("part",), "bool"),
    "match": (("pattern",), "bool"),
    "equal": (("other",), "bool"),
    "lower": ((), "text"),
    "replace": (("old", "new"), "text"),
    "join": (("other",), "text"),
}
HIDDEN = {"equal", "join"}  # these are operators
METRICS = {"bleu", "edit_distance"}  # of a whole set, which `measure` collects
WHERE = "the functions given to map, filter, top and measure"


class TextRead(Struct, frozen=True):
    """A column that the host makes of texts: an expression of nested lists, and its dtype."""

    expression: Any
    dtype: str


def is_text(value: Any) -> bool:
    return type(value) is TextColumn or type(value) is TextValue


def call_text(site: CallSite, name: str, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """`name(text, ...)`, where the first argument is a text."""
    if name not in FUNCTIONS or name in HIDDEN:
        known = ", ".join(each for each in FUNCTIONS if each not in HIDDEN)
        help = f"functions of texts: {known}; tokenize(tok, length = 128) makes tensors of them"
        raise faults.wrong_kind(f"'{name}'", "a tensor or a number", "a text", site.location, help)
    parameters = FUNCTIONS[name][0]
    given = dict(zip(("text", *parameters), positional, strict=False))
    if len(positional) > 1 + len(parameters):
        raise faults.too_many_arguments(name, 1 + len(parameters), len(positional), site.location)
    for key, value in named.items():
        if key not in parameters:
            raise faults.unknown_argument(name, key, site.name_of(key), parameters)
        given[key] = value
    for parameter in parameters:
        if parameter not in given:
            raise faults.missing_argument(name, parameter, site.location)
    if name == "match":
        _check_pattern(given["pattern"], site)
    operands = [_expression(name, key, value, site.location) for key, value in given.items()]
    return _made(site.session.frame, [name, *operands], FUNCTIONS[name][1], f"'{name}'", site.location)


def text_operator(frame: Frame | None, symbol: str, left: Any, right: Any, location: Location) -> Any:
    """`==`, `!=` and `+` of texts."""
    if symbol not in {"==", "!=", "+"}:
        help = "texts are compared by == and !=, and joined by +"
        raise faults.wrong_kind(f"'{symbol}'", "numbers", f"{describe(left)} and {describe(right)}", location, help)
    name = "join" if symbol == "+" else "equal"
    operands = [_expression(symbol, "a side", value, location) for value in (left, right)]
    made = _made(frame, [name, *operands], FUNCTIONS[name][1], f"'{symbol}'", location)
    if symbol == "!=" and frame is not None:
        (result,) = frame.builder.apply("not", [made.operand])
        return tensor(frame, result, location)
    return made


def _check_pattern(pattern: Any, site: CallSite) -> None:
    if not isinstance(pattern, str):
        raise faults.wrong_kind("'pattern' of 'match'", "a string", describe(pattern), site.location)
    try:
        re.compile(pattern)
    except re.error as error:
        text = f"'pattern' of 'match' is no regular expression: {error}"
        raise faults.wrong_value(text, site.location) from None


def _expression(function: str, name: str, value: Any, location: Location) -> Any:
    if isinstance(value, str):
        return ["text", value]
    if isinstance(value, TextValue):
        return value.expression
    if not isinstance(value, TextColumn):
        raise faults.wrong_kind(f"'{name}' of '{function}'", "a text", describe(value), location)
    if value.vocabulary is not None and function != "length":
        help = f"read the text before it is tokenized, or decode({value.vocabulary.name})"
        raise faults.wrong_kind(f"'{function}'", "a text", f"tokens of '{value.vocabulary.name}'", location, help)
    return ["column", value.name]


def _made(frame: Frame | None, expression: Any, dtype: Any, what: str, location: Location) -> Any:
    if frame is None or frame.kind != "row":
        raise faults.only_in_traced_code(f"{what} of a text", location, WHERE)
    if dtype == "text":
        return TextValue(expression)
    return _read(frame, TextRead(expression, dtype), location)


def _read(frame: Frame, read: TextRead, location: Location) -> Tensor:
    """A number that is made of texts, as an input of the function; equal ones are one."""
    name = read_name(frame.texts, read)
    if name not in frame.texts:
        frame.texts[name] = read
        frame.text_inputs[name] = frame.builder.input(name, TensorType(read.dtype, ()))  # type: ignore[arg-type]
    return tensor(frame, frame.text_inputs[name], location)


def read_name(known: Mapping[str, TextRead], read: TextRead) -> str:
    """The name of the column that holds what is read."""
    return next((name for name, each in known.items() if each == read), f"text@{len(known)}")


def text_outputs(result: Any, texts: dict[str, TextRead]) -> dict[str, str]:
    """The texts that a function returns under another name than they have, or made anew: the columns that hold them.

    What the host has to make is added to `texts`.
    """
    renamed: dict[str, str] = {}
    for field, value in result.items():
        if isinstance(value, TextColumn) and value.name != field:
            renamed[field] = value.name
        elif isinstance(value, TextValue | str):
            read = TextRead(["text", value] if isinstance(value, str) else value.expression, "text")
            renamed[field] = read_name(texts, read)
            texts[renamed[field]] = read
    return renamed
