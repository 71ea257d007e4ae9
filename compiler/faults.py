"""One constructor per diagnostic code: the only place where the words of a message are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etude.compiler.diagnostics import Diagnostic, Fix, Location, RecipeError, Related
from etude.compiler.schema import Vocabulary
from etude.compiler.suggestions import (
    as_a_function,
    as_a_value,
    as_an_argument,
    called_here,
    in_the_library,
    is_called_or_asked,
    one_letter_off,
    rename,
    spelled_here,
    written_so,
)


class Poisoned(Exception):
    """Unwinds an evaluation whose fault has been reported already."""


def fault(
    code: str,
    message: str,
    location: Location,
    label: str = "",
    *,
    related: Sequence[Related] = (),
    help: str | None = None,
    fixes: Sequence[Fix] = (),
) -> RecipeError:
    """A diagnostic to be raised."""
    return RecipeError(Diagnostic(code, message, location, label, tuple(related), help, tuple(fixes)))


# --- E2: names, arguments, imports, cycles -------------------------------------------------------


def unknown_name(name: str, location: Location, visible: Iterable[str]) -> RecipeError:
    known = list(visible)
    near = None if is_called_or_asked(location) else one_letter_off(name, known)
    meant = None if near else spelled_here(name, location) or in_the_library(name, location)
    given = as_an_argument(name, location)
    help, fixes = (given, ()) if given else meant or rename(location, name, known)
    return fault("E201", f"unknown name '{name}'", location, "not defined here", help=help, fixes=fixes)


def unknown_argument(function: str, name: str, location: Location, known: Sequence[str]) -> RecipeError:
    takes = f"'{function}' takes {', '.join(known)}" if known else f"'{function}' takes no named arguments"
    help, fixes = called_here(name, location, known) or rename(location, name, known)
    return fault(
        "E202", f"'{function}' has no argument '{name}'", location, "unknown argument", help=help or takes, fixes=fixes
    )


def unknown_field(name: str, location: Location, known: Sequence[str], what: str) -> RecipeError:
    help, fixes = rename(location, name, known)
    if not any(fix.safe for fix in fixes):
        help, fixes = as_a_function(name, location, what) or (help, fixes)
    has = f"it has {', '.join(known)}" if known else "it has no fields"
    return fault("E203", f"{what} has no field '{name}'", location, "unknown field", help=help or has, fixes=fixes)


def column_as_field(name: str, location: Location) -> RecipeError:
    help = f'map(d, row => {{...row, ...}}) computes with row.{name}; column(d, "{name}") is the tensor of all rows'
    return fault("E203", f"'{name}' is a column of the dataset, and no field", location, "a column", help=help)


def missing_argument(function: str, name: str, location: Location, related: Sequence[Related] = ()) -> RecipeError:
    return fault(
        "E204",
        f"'{function}' needs the argument '{name}'",
        location,
        f"'{name}' is not given",
        related=related,
        help=f"add {name} = ...",
    )


def too_many_arguments(
    function: str, expected: int, got: int, location: Location, help: str | None = None
) -> RecipeError:
    text = f"'{function}' takes {expected} argument{'s' * (expected != 1)} without a name, got {got}"
    return fault("E205", text, location, "too many arguments", help=help)


def repeated_argument(function: str, name: str, location: Location) -> RecipeError:
    return fault("E206", f"'{function}' gets the argument '{name}' twice", location, "given a second time")


def bound_twice(name: str, location: Location, first: Location) -> RecipeError:
    return fault(
        "E207",
        f"'{name}' is bound twice",
        location,
        "bound again",
        related=(Related(first, "first bound here"),),
        help="a name binds once; give the second value another name",
    )


def cycle(names: Sequence[str], location: Location) -> RecipeError:
    return fault(
        "E208",
        f"'{names[0]}' is defined by itself",
        location,
        "the cycle closes here",
        help="the path is " + " -> ".join([*names, names[0]]),
    )


def recursion(name: str, location: Location) -> RecipeError:
    return fault("E211", f"'{name}' calls itself", location, "a recursive call", help="use loop, or a comprehension")


# --- E3: types, shapes, units, columns -----------------------------------------------------------


def wrong_kind(
    what: str,
    expected: str,
    got: str,
    location: Location,
    help: str | None = None,
    related: Sequence[Related] = (),
    otherwise: str | None = None,
) -> RecipeError:
    """`otherwise` is the help where what is written gives no better one."""
    text = f"{what}: expected {expected}, got {got}"
    fixes: tuple[Fix, ...] = ()
    if help is None:
        help, fixes = written_so(expected, location)
    if help is None and got == "a function":
        help = as_a_value(location)
    return fault("E301", text, location, f"this is {got}", related=related, help=help or otherwise, fixes=fixes)


def wrong_shape(
    operation: str, reason: str, location: Location, related: Sequence[Related], help: str | None
) -> RecipeError:
    label = "out of range" if " out of range" in reason else "the shapes do not fit"
    return fault("E302", f"'{operation}': {reason}", location, label, related=related, help=help)


def wrong_unit(operation: str, left: str, right: str, location: Location) -> RecipeError:
    return fault(
        "E303",
        f"'{operation}' cannot combine {left} and {right}",
        location,
        "the units differ",
        help="both sides need the same unit",
    )


def missing_column(name: str, location: Location, columns: Sequence[str], origin: str) -> RecipeError:
    help, fixes = rename(location, name, columns)
    return fault(
        "E304",
        f"{origin} has no column '{name}'",
        location,
        "no such column",
        help=help or f"its columns are {', '.join(columns)}",
        fixes=fixes,
    )


def class_count(
    other: str, classes: int, location: Location, related: Sequence[Related], help: str | None = None
) -> RecipeError:
    return fault(
        "E305",
        f"the label has {classes} classes, but {other}",
        location,
        "the counts differ",
        related=related,
        help=help or f"let the last layer give {classes} outputs",
    )


def unbound_columns(model: str, inputs: Sequence[str], columns: Sequence[str], location: Location) -> RecipeError:
    return fault(
        "E306",
        f"cannot tell which columns are the inputs ({', '.join(inputs)}) of {model}",
        location,
        f"the columns are {', '.join(columns)}",
        help="take the columns by name in a pattern: ({image, label}) => ...",
    )


def param_value(name: str, text: str, location: Location) -> RecipeError:
    return fault("E307", f"param '{name}': {text}", location, "the value does not fit")


def after_the_run(what: str, location: Location) -> RecipeError:
    return fault(
        "E308",
        f"{what} is known only after the run",
        location,
        "decided before the run",
        help="use best, while, where or choose to decide by a measured value",
    )


def not_callable(what: str, location: Location, help: str | None = None) -> RecipeError:
    return fault("E309", f"{what} cannot be called", location, "called here", help=help)


def not_a_scalar(name: str, type: str, location: Location) -> RecipeError:
    return fault(
        "E310",
        f"{name} must be one number, got {type}",
        location,
        "not a scalar",
        help="reduce it with mean(...) or sum(...)",
    )


def wrong_pattern(
    text: str, location: Location, help: str | None = None, related: Sequence[Related] = ()
) -> RecipeError:
    return fault("E311", text, location, "the parameters do not fit", related=related, help=help)


def weight_conflict(path: str, first: str, second: str, location: Location, related: Sequence[Related]) -> RecipeError:
    return fault(
        "E312",
        f"two uses of one model give the weight '{path}' the shapes {first} and {second}",
        location,
        "one of the uses",
        related=related,
        help="weights take their shapes from the inputs: make the inputs alike, or use two models",
    )


def source_fault(message: str, location: Location, help: str | None) -> RecipeError:
    return fault("E313", message, location, "cannot be loaded", help=help)


def wrong_value(text: str, location: Location, help: str | None = None) -> RecipeError:
    return fault("E314", text, location, "not allowed here", help=help)


def other_tokenizer(what: str, known: Vocabulary, got: Vocabulary, location: Location) -> RecipeError:
    return fault(
        "E331",
        f"{what} is made for the tokens of '{known.name}', but gets those of '{got.name}'",
        location,
        f"tokens of '{got.name}'",
        help="the same number means another token: use one tokenizer for both",
    )


def small_vocabulary(what: str, has: int, size: int, name: str, location: Location) -> RecipeError:
    tokens = f"the tokens of '{name}' go up to {size - 1}" if name else f"the numbers go up to {size - 1}"
    return fault(
        "E332",
        f"{what} has {has} entries, but {tokens}",
        location,
        "some have no entry",
        help=f"make it {size} entries wide{f': {name}.size' if name else ''}",
    )


# --- E4: the graph -------------------------------------------------------------------------------


def unreached_model(name: str, location: Location) -> RecipeError:
    return fault(
        "E401",
        f"'{name}' is in update, but the loss never uses it",
        location,
        "never reached by the loss",
        help="call it in the loss, or take it out of update",
    )


def weights_in_loss(name: str, location: Location) -> RecipeError:
    return fault(
        "E402",
        f"'{name}' is made inside a traced function, so nobody would keep its weights",
        location,
        "made anew at every step",
        help="bind it outside and add it to update",
    )


def model_from_outside(name: str, location: Location) -> RecipeError:
    return fault(
        "E411",
        f"the body of a model cannot name '{name}', a model that is bound around it",
        location,
        "a model from outside",
        help=f"make it a setting, which keeps its weights: model ...({name}: Model, ...)(x) {{ ... }}",
    )


def weights_in_region(name: str, region: str, location: Location, around: Location) -> RecipeError:
    return fault(
        "E415",
        f"'{name}' is made inside a '{region}', so it is not clear whether all rounds share its weights",
        location,
        "made inside",
        related=(Related(around, f"of this '{region}'"),),
        help=f"make it in front of the '{region}' to share it, or loop over a list of models",
    )


def while_in_program(location: Location) -> RecipeError:
    return fault(
        "E417",
        "a loop in a tensor program has a fixed number of rounds, and no 'while'",
        location,
        "known only while the program runs",
        help="carry on with where(done, old, new), or loop over stages with 'while' outside",
    )


def carry_type(name: str, expected: str, got: str, location: Location, start: Location, help: str) -> RecipeError:
    return fault(
        "E315",
        f"'{name}' keeps its type from round to round: expected {expected}, got {got}",
        location,
        f"this is {got}",
        related=(Related(start, f"it starts as {expected}"),),
        help=help,
    )


def branch_types(number: int, first: str, other: str, location: Location, place: Location) -> RecipeError:
    return fault(
        "E316",
        f"the branches of 'choose' give different things: expected {first} as from branch 0, got {other}",
        location,
        f"branch {number} gives {other}",
        related=(Related(place, f"branch 0 gives {first}"),),
        help="let all branches give tensors of one dtype and shape",
    )


def earlier_rounds(region: str, what: str, location: Location, value: Location) -> RecipeError:
    return fault(
        "E416",
        f"{what} stands outside of this '{region}', and the value depends on it by more ways than this round",
        location,
        "this derivative would leave them out",
        related=(Related(value, "the value"),),
        help=f"take the derivative of what the '{region}' gives, or stop(...) what comes from before",
    )


def too_many_stages(limit: int, location: Location, estimate: int | None = None) -> RecipeError:
    """The limit is passed, or far from where it will be: one that comes to about `estimate`."""
    text, label = f"the recipe has more than {limit:,} stages", "the limit is passed here"
    if estimate is not None:
        about = f"{10 ** (len(str(estimate)) - 1):,}"
        text = f"the recipe would have more than {about} stages, and the limit is {limit:,}"
        label = "if all goes on as it has until here"
    return fault("E403", text, location, label, help="shorten the sweep, or raise --max-stages")


def unused_variable(name: str, location: Location) -> RecipeError:
    return fault(
        "E404",
        f"'{name}' is never used: every element would be the same",
        location,
        "unused variable",
        help=f"use '{name}' (as a seed, say), or write _ when equal elements are meant",
    )


def not_in_traced_code(what: str, location: Location) -> RecipeError:
    return fault(
        "E405", f"{what} cannot stand in a traced function", location, "a stage of the workflow",
        help="compute it outside and use its result here",
    )  # fmt: skip


def only_in_traced_code(what: str, location: Location, where: str, help: str | None = None) -> RecipeError:
    return fault("E406", f"{what} can only stand in {where}", location, "outside of it here", help=help)


def no_weight(glob: str, location: Location, near: Sequence[str]) -> RecipeError:
    return fault(
        "E408",
        f'"{glob}" names none of the weights that are updated',
        location,
        "matches nothing",
        help=f"there are {', '.join(near)}" if near else None,
    )


def not_allowed(what: str, option: str, location: Location) -> RecipeError:
    return fault(
        "E430",
        f"{what}, which the command line has not allowed",
        location,
        "code that is not Etude",
        help=f"if you trust the recipe, allow it: {option}",
    )


# --- E5: leakage ---------------------------------------------------------------------------------


def test_reaches_training(path: str, location: Location, made: Location) -> Diagnostic:
    return Diagnostic(
        "E501", f"test data reaches training: {path}", location, "trains on what test labels say",
        (Related(made, "the test data is made here"),),
        "train on another part, or take the part that may be trained on from the split under another name",
    )  # fmt: skip


def test_decides(what: str, path: str, location: Location, made: Location) -> Diagnostic:
    return Diagnostic(
        "E502", f"{what}: {path}", location, "chosen by test data",
        (Related(made, "the test data is made here"),),
        "choose on a validation part: split(train = ..., valid = ..., test = ...)",
    )  # fmt: skip


def test_reaches_weights(path: str, location: Location, made: Location) -> Diagnostic:
    return Diagnostic(
        "E501", f"test data reaches the weights of a model: {path}", location, "computed from what test labels say",
        (Related(made, "the test data is made here"),),
        "compute them from another part, as a validation part of the split",
    )  # fmt: skip


def test_was_seen(data: str, seen: str, path: str, location: Location, where: Location) -> Diagnostic:
    return Diagnostic(
        "E503",
        f"what is measured on '{data}' was shaped by '{seen}', which may hold the same rows: {path}",
        location,
        "measured as if these rows were new",
        (Related(where, f"'{seen}' is made here"),),
        'measure on a part that training never sees, or say why they differ: assume disjoint(a, b) because "..."',
    )


def grouped_rows(column: str, location: Location, first: Location) -> Diagnostic:
    return Diagnostic(
        "E504",
        f"rows that belong together by '{column}' are split row by row",
        location,
        "a group can come to lie on both sides",
        (Related(first, f"here groups of '{column}' are kept whole"),),
        f'split by group = "{column}"',
    )


def transductive(path: str, location: Location, made: Location) -> Diagnostic:
    return Diagnostic(
        "W501", f"the inputs of test data shape a model (transductive): {path}", location,
        "sees test inputs, though not their labels",
        (Related(made, "the test data is made here"),),
        "results on this test data are not results on unseen inputs: say so where they are claimed",
    )  # fmt: skip


def independent(what: str, location: Location, value: Location) -> RecipeError:
    return fault(
        "E409",
        f"the value was not computed from {what}, so it has no derivative by it",
        location,
        "always zero",
        related=(Related(value, "the value"),),
        help="name the input, binding or weights(m) that the value was computed from",
    )


# --- warnings ------------------------------------------------------------------------------------


def equal_models(first: str, second: str, location: Location) -> Diagnostic:
    text = f"'{first}' and '{second}' start from equal weights: equal constructors with equal seeds"
    return Diagnostic("W401", text, location, "both learn here", help="give one of them seed = ...")


def fresh_frozen(name: str, location: Location) -> Diagnostic:
    text = f"'{name}' is used here without ever being trained"
    return Diagnostic("W402", text, location, "random weights", help="train it, or reseed it on purpose")
