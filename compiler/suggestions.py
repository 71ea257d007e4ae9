"""What was probably meant by a name that means nothing: hints, and fixes where there is no doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from etude.compiler.diagnostics import Edit, Fix, Location
from etude.compiler.scopes import nearest
from etude.compiler.values import OperationValue
from etude.grammar.nodes import Span
from etude.grammar.slips import distance, surely_meant

Suggestion: TypeAlias = tuple[str | None, tuple[Fix, ...]]
SPELLINGS = {
    **dict.fromkeys(("True", "TRUE"), "true"),
    **dict.fromkeys(("False", "FALSE"), "false"),
    **dict.fromkeys(("None", "NONE", "null", "nil", "Null", "undefined"), "none"),
}
"""Values that other languages spell otherwise."""
HABITS: Mapping[str, tuple[str, ...]] = {
    "batch_size": ("batch",), "bs": ("batch",), "minibatch": ("batch",),
    "learning_rate": ("lr",), "wd": ("weight_decay",), "decay": ("weight_decay",),
    "epochs": ("budget",), "num_epochs": ("budget",), "n_epochs": ("budget",), "max_epochs": ("budget",),
    "steps": ("budget",), "max_steps": ("budget",), "num_steps": ("budget",),
    "iterations": ("budget",), "optim": ("optimizer",), "opt": ("optimizer",), "lr": ("optimizer",),
    "scheduler": ("schedule",), "lr_schedule": ("schedule",), "random_state": ("seed",), "random_seed": ("seed",),
    "data": ("on",), "dataset": ("on",), "train_data": ("on",), "validation": ("valid",), "val": ("valid",),
    "criterion": ("loss",), "loss_fn": ("loss",), "objective": ("loss",), "params": ("update",),
    "early_stopping": ("patience",), "grad_clip": ("clip",), "clip_norm": ("clip",), "dim": ("axis",),
    "dims": ("axis",), "keepdim": ("keep",), "keepdims": ("keep",), "activation": ("act",), "units": ("out",),
    "out_features": ("out",), "test_size": ("test",), "train_size": ("train",), "dtype": ("shape", "n", "values"),
}  # fmt: skip
"""What arguments are called elsewhere, and here."""
OTHER_VALUES = {
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs", "max_epochs"), "write budget = 3epochs"),
    **dict.fromkeys(("steps", "max_steps", "num_steps", "iterations"), "write budget = 1000steps"),
    "lr": "a rate belongs to the optimizer: optimizer = adamw(lr = 1e-3)",
    "params": "name the models that learn: update = net",
    "early_stopping": "write patience = 5, and valid = ...",
    "dtype": "make an int of it by int(...), a truth value by bool(...)",
}
"""Those that take another value here: nothing that could be replaced without looking."""
NO_EQUALS = re.compile(r" *(==|[-+])")
OPERATOR = re.compile(r" *[-+*/%@]")
NUMBER_IN_QUOTES = re.compile(r'"[0-9][0-9_]*(\.[0-9]+)?([eE][+-]?[0-9]+)?(%|[A-Za-z]+)?"')
NUMERIC = ("number", "int", "float", "share", "duration", "epochs")


def rename(location: Location, name: str, candidates: Iterable[str]) -> Suggestion:
    """A hint and a fix with the nearest name; safe where that is a slip of one name alone."""
    known = list(candidates)
    sure = surely_meant(name, known)
    close = sure or one_letter_off(name, known) or nearest(name, [each for each in known if is_like(name, each)])
    if close is None:
        return None, ()
    is_safe = sure is not None and not _is_function_computed_with(close, location)
    fix = Fix(f"replace '{name}' by '{close}'", (Edit(location, close),), safe=is_safe)
    return f"did you mean '{close}'?", (fix,)


def one_letter_off(name: str, known: Iterable[str]) -> str | None:
    """The first of the names, which come nearest first, that has a letter more or less, or one other letter of four."""
    return next(
        (
            each
            for each in known
            if abs(len(each) - len(name)) < 2
            and (len(each) != len(name) or len(name) > 3)
            and (min(len(each), len(name)) > 1 or each.startswith(name) or name.startswith(each))
            and distance(name, each) == 1
            and re.findall(r"[0-9]+", name) == re.findall(r"[0-9]+", each)
        ),
        None,
    )


def _is_function_computed_with(name: str, location: Location) -> bool:
    """Whether a function would stand before an operator, as in `test % 20%`: the operator may be what is wrong."""
    from etude.compiler.builtins import library_names  # needed for unknown names only

    return name in library_names() and OPERATOR.match(location.source.text, location.span.end) is not None


def as_an_argument(name: str, location: Location) -> str | None:
    """How an argument is given, where another operator stands in the place of `=`: `mean(x, axis == 0)`."""
    text, span = location.source.text, location.span
    if len(name) < 2 or text[: span.start].rstrip()[-1:] not in {"(", ","} or not NO_EQUALS.match(text, span.end):
        return None
    return f"an argument is given by `=`: {name} = ..." if _is_argument(name) else None


def _is_argument(name: str) -> bool:
    """Whether a function of the library takes an argument of this name."""
    from etude.backends.ops import find
    from etude.compiler.builtins import library_names  # needed where there is a mistake only

    for each in library_names().values():
        row = find(each.name) if isinstance(each, OperationValue) else None
        known = [p.name for p in row.parameters] if row else [p for p, _ in getattr(each, "parameters", ())]
        if name in known:
            return True
    return name in {"train", "valid", "test"}


def as_a_value(location: Location) -> str | None:
    """Why there is a function: `dim => 128` for an argument, or a name that the library has and the recipe has not."""
    text = location.source.text[location.span.start : location.span.end]
    arrow = re.match(r"([A-Za-z_]\w*)\s*=>", text)
    before = location.source.text[: location.span.start].rstrip()[-1:]
    if arrow and before in {"(", ","} and len(arrow[1]) > 1 and _is_argument(arrow[1]):
        return f"this is a lambda; an argument is given by `=`: {arrow[1]} = ..."
    name = re.match(r"[A-Za-z_]\w*", text)
    if name is None or location.source.name.startswith("std."):
        return None
    from etude.compiler.builtins import library_names  # needed for values of the wrong kind only

    if name[0] not in library_names() and not _is_open(name[0]):
        return None
    is_bound = re.search(rf"(?<![.\w]){name[0]}\s*(?:=(?![=>])|:)", location.source.text)
    return None if is_bound else f"'{name[0]}' is a function of the library: nothing of this recipe is called so"


def is_called_or_asked(location: Location) -> bool:
    """Whether what stands at a place is called, or asked for a field: a function or a module was meant."""
    return location.source.text[location.span.end : location.span.end + 1] in {"(", "."}


def is_like(written: str, known: str) -> bool:
    """Whether a word could be meant by another one: it begins like it, or is a part of it, or has most of its letters.

    >>> is_like("reverse", "resnet"), is_like("join", "cosine"), is_like("logistic", "logistic_regression")
    (False, False, True)
    """
    left, right = written.lower(), known.lower()
    if left in right or right in left:
        return True
    most = max(len(left), len(right)) * 0.4
    return abs(len(left) - len(right)) <= most and distance(left, right) <= most


def spelled_here(name: str, location: Location) -> Suggestion | None:
    """How `None`, `True` and what other languages have functions for is written."""
    here = SPELLINGS.get(name)
    if here is not None:
        return f"it is written '{here}'", (_replaced(name, here, location),)
    return _habit(name, location)


def _habit(name: str, location: Location, *, is_field: bool = False) -> Suggestion | None:
    from etude.compiler.habits import SAME, written_here  # needed for unknown names only

    written = written_here(name, is_field=is_field)
    if written is not None:
        return written, ()
    if name in SAME:
        fix = Fix(f"replace '{name}' by '{SAME[name]}'", (Edit(location, SAME[name]),), safe=False)
        return f"the function is called '{SAME[name]}'", (fix,)
    return None


def as_a_function(name: str, location: Location, what: str) -> Suggestion | None:
    """How a method of another language is written: as a function, after its value or before it."""
    from etude.compiler.builtins import library_names  # needed for unknown fields only
    from etude.compiler.habits import SAME

    written = _habit(name, location, is_field=True)
    if written is not None and name not in SAME:
        return written
    if "record" in what:  # its fields are many and of anybody's making: a slip of one is likelier
        return None
    function = SAME.get(name, name)
    if function not in library_names() and not _is_open(function):
        return None
    first = "d" if "dataset" in what else "m" if "model" in what else "x"
    return f"functions are called with their values: {function}({first}, ...), or {first} |> {function}(...)", ()


def _is_open(name: str) -> bool:
    from etude.compiler.definitions import definitions
    from etude.compiler.modules import ALWAYS_OPEN, text_of

    found = (each for module in ALWAYS_OPEN for each in definitions(text_of(module)))
    return any(each.name == name and each.kind == "fn" for each in found)


def in_the_library(name: str, location: Location) -> Suggestion | None:
    """The module of the library that has a name, where it is not open."""
    from etude.compiler.modules import module_with  # needed for unknown names only

    module = module_with(name)
    if module is None:
        return None
    text = location.source.text
    head = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*", text)
    start = head.end() if head else 0
    opened = Edit(Location(location.source, Span(start, start)), f"use {module}\n")
    return f"'{name}' is in the library: write 'use {module}'", (Fix(f"open {module}", (opened,)),)


def called_here(name: str, location: Location, known: Sequence[str]) -> Suggestion | None:
    """What an argument is called that has another name elsewhere."""
    habit = next((word for word in HABITS.get(name, ()) if word in known), None)
    if habit is None:
        return None
    if name in OTHER_VALUES:
        return OTHER_VALUES[name], ()
    return f"the argument is '{habit}'", (_replaced(name, habit, location),)


def written_so(expected: str, location: Location) -> Suggestion:
    """How a literal of the wrong kind is probably meant: a number in quotes, one without its unit."""
    span = location.span
    text = location.source.text[span.start : min(span.end, span.start + 40)]
    if NUMBER_IN_QUOTES.fullmatch(text) and any(word in expected for word in NUMERIC):
        return "numbers are written without quotes", (_replaced(text, text[1:-1], location),)
    if expected == "a comparison":
        return "compare it with something: ... > 90%", ()
    if text.isdecimal() and "3epochs" in expected:
        return f"it needs a unit: {text}epochs, {text}steps", ()
    if text.isdecimal() and "24examples" in expected:
        return f"write {text}examples" + (f", or {text}%" if 0 < int(text) <= 100 else ""), ()
    if text.isdecimal() and expected.startswith("a share") and 0 < int(text) <= 100:
        return f"write {text}%", (Fix(f"replace '{text}' by '{text}%'", (Edit(location, f"{text}%"),), safe=False),)
    return None, ()


def _replaced(old: str, new: str, location: Location) -> Fix:
    return Fix(f"replace '{old}' by '{new}'", (Edit(location, new),))
