"""The table of builtins: a decorator that reads a function's own signature, and the names that a recipe sees."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from etude.backends.ops import names as operation_names
from etude.backends.program.packages import module_names
from etude.compiler.values import Builtin, OperationValue

F = TypeVar("F", bound=Callable[..., Any])
VARIADIC, EXTRA = 0x04, 0x08
REGISTRY: dict[str, Any] = {}
OPERATORS = {
    "add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "matmul", "lt", "le", "gt", "ge", "eq", "ne",
    "and", "or", "not", "cast", "slice", "slice_at", "gather",
}  # fmt: skip


def builtin(function: F) -> F:
    """Offer a function of (site, arguments...) under its own name; names lose a trailing underscore (`else_`)."""
    code = function.__code__
    names = [name.removesuffix("_") for name in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]]
    defaults = set(names[code.co_argcount - 1 - len(function.__defaults__ or ()) : code.co_argcount - 1])
    defaults |= {name.removesuffix("_") for name in function.__kwdefaults__ or ()}
    name = function.__name__.removesuffix("_")
    parameters = tuple((parameter, parameter in defaults) for parameter in names)
    flags = code.co_flags
    REGISTRY[name] = Builtin(name, function, parameters, bool(flags & EXTRA), bool(flags & VARIADIC))
    return function


@cache
def library_names() -> dict[str, Any]:
    """Everything that is defined before a recipe's first line: operations, then builtins (which win)."""
    import etude.compiler.builtins as package

    for module in module_names(package.__path__):
        importlib.import_module(f"{package.__name__}.{module}")
    operations = {name: OperationValue(name) for name in operation_names() if name not in OPERATORS}
    return {"none": None, **operations, **REGISTRY}
