"""Bind arguments to parameters: of builtins, functions, lambdas and constructors."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.scopes import Scope
from etude.compiler.typing import check_annotation, fits_plainly
from etude.compiler.values import Builtin, Closure, Model, ModelClass, Record, Row, Tensor, describe
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.elaborate import Evaluator

KEYWORDS = frozenset(keyword.kwlist)
"""Names of arguments that end in an underscore in Python."""


class Arguments(Struct):
    """What a call is given: values by place and by name, the `spans` of what was written, by place, name and
    "name of ...", and `before` a value without a name the names that stood there, if any."""

    positional: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)
    spans: dict[str | int, nodes.Span] = field(default_factory=dict)
    before: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def add(self, argument: nodes.Argument, value: Any) -> None:
        """The next argument that is no spread, under a name that is new."""
        name = argument.name
        if name is None:
            index = len(self.positional)
            if self.named:
                self.before[index] = tuple(self.named)
            self.spans[index] = argument.value.span
            self.positional.append(value)
        else:
            self.named[name], self.spans[name] = value, argument.value.span
            self.spans["name of " + name] = argument.name_span or argument.span

    def spread(self, argument: nodes.Argument, fields: Mapping[str, Any]) -> None:
        """`...record`: its fields are named arguments."""
        for name, value in fields.items():
            self.named[name], self.spans[name] = value, argument.value.span


class CallSite(Struct, frozen=True):
    """One call: where it stands, where in the same file each argument stands (`Arguments.spans`), and what the caller
    calls the function."""

    evaluator: Evaluator
    location: Location
    spans: Mapping[str | int, nodes.Span]
    name: str
    in_library: bool
    named_before: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def session(self) -> Any:
        return self.evaluator.session

    def at(self, argument: str | int) -> Location:
        """Where the value of an argument stands; the whole call when it was not written."""
        span = self.spans.get(argument)
        return self.location if span is None else Location(self.location.source, span)

    def name_of(self, argument: str) -> Location:
        """Where the name of a named argument stands."""
        return self.at("name of " + argument if "name of " + argument in self.spans else argument)


def assign(
    names: Sequence[str], positional: Sequence[Any], named: Mapping[str, Any], site: CallSite
) -> tuple[dict[str, Any], dict[str, str | int]]:
    """Values by parameter name, and as what the site knows each of them. A value without a name takes the first
    parameter that has none yet and was not named before it: `measure(on = d, row => e)`."""
    if not positional:  # most calls of functions with many parameters
        return dict(named), {name: name for name in named}
    values: dict[str, Any] = {}
    written: dict[str, str | int] = {}
    for index, value in enumerate(positional):
        before = site.named_before.get(index, ())
        free = names[index : index + 1]
        if before:
            free = [name for name in names if name not in values and name not in before]
        if not free:
            raise faults.too_many_arguments(site.name, len(names), len(positional), site.at(index))
        values[free[0]], written[free[0]] = value, index
    for name, value in named.items():
        if name in values:
            raise faults.repeated_argument(site.name, name, site.name_of(name))
        values[name], written[name] = value, name
    return values, written


def bind_builtin(builtin: Builtin, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
    """Call a function written in Python: `function(site, **arguments)`."""
    if builtin.is_variadic:
        return _call_variadic(builtin, positional, named, site)
    names, needed = builtin.names, builtin.needed
    values, written = assign(names, positional, named, site)
    if not builtin.takes_extra:
        extra = [name for name in named if name not in names]
        if extra:
            raise faults.unknown_argument(builtin.name, extra[0], site.name_of(extra[0]), names)
    for name in needed:
        if name not in values:
            raise faults.missing_argument(builtin.name, name, site.location)
    spans = dict(site.spans)
    for name, key in written.items():
        spans[name] = site.spans.get(key, site.location.span)
    placed = CallSite(site.evaluator, site.location, spans, builtin.name, site.in_library, site.named_before)
    if not KEYWORDS.isdisjoint(values):
        values = {f"{name}_" if name in KEYWORDS else name: value for name, value in values.items()}
    return builtin.function(placed, **values)


def _call_variadic(builtin: Builtin, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
    for name in named:
        if name not in builtin.names:
            raise faults.unknown_argument(builtin.name, name, site.name_of(name), builtin.names)
    return builtin.function(site, *positional, **named)


def bind_parameters(
    evaluator: Evaluator, closure: Closure, positional: list[Any], named: dict[str, Any], site: CallSite
) -> Scope:
    """The scope of a call of a `fn`; defaults are evaluated where the function was defined."""
    parameters = [p for p in closure.parameters if isinstance(p, nodes.Parameter)]
    return _scope(evaluator, closure.name, parameters, closure.scope, positional, named, site)


def _scope(
    evaluator: Evaluator,
    name: str,
    parameters: Sequence[nodes.Parameter],
    defined: Scope,
    positional: list[Any],
    named: dict[str, Any],
    site: CallSite,
) -> Scope:
    names = [p.name for p in parameters]
    values, written = assign(names, positional, named, site)
    unknown = [key for key in named if key not in names]
    if unknown:
        raise faults.unknown_argument(name, unknown[0], site.name_of(unknown[0]), names)
    scope = defined.child()
    for parameter in parameters:
        default = None if parameter.name in values else parameter.default
        if parameter.name in values:
            value = values[parameter.name]
        elif default is not None:
            value = evaluator.evaluate(default, scope)
        else:
            here = Related(Location(defined.source, parameter.span), "declared here")
            raise faults.missing_argument(name, parameter.name, site.location, [here])
        if parameter.type is not None and not fits_plainly(value, parameter.type):
            place = evaluator.at(default, scope) if default is not None else site.at(written[parameter.name])
            value = check_annotation(value, parameter, scope, place, name)
        scope.names[parameter.name] = value
    return scope


def bind_model(
    evaluator: Evaluator, definition: ModelClass, positional: list[Any], named: dict[str, Any], site: CallSite
) -> tuple[dict[str, Any], int | None]:
    """The configuration and the seed of a constructor call."""
    node = definition.node
    seed = None
    if "seed" in named and "seed" not in [p.name for p in node.configuration]:
        seed = named["seed"]
        named = {key: value for key, value in named.items() if key != "seed"}
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise faults.wrong_kind("'seed'", "an int", describe(seed), site.at("seed"))
    scope = _scope(evaluator, node.name, node.configuration, definition.scope, positional, named, site)
    return dict(scope.names), seed


def bind_inputs(model: Model, positional: list[Any], named: dict[str, Any], site: CallSite) -> list[Any]:
    """The inputs of a model's call in their order; those that are left out have their defaults."""
    from etude.compiler.instances import input_names, needed_inputs

    names = input_names(model)
    values, _ = assign(names, positional, named, site)
    unknown = [name for name in values if name not in names]
    if unknown:
        raise faults.unknown_argument(site.name, unknown[0], site.name_of(unknown[0]), names)
    missing = [name for name in names[: needed_inputs(model)] if name not in values]
    if missing:
        raise faults.missing_argument(site.name, missing[0], site.location)
    given = [values.get(name) for name in names]
    while given and given[-1] is None:
        given.pop()
    return given


def bind_patterns(closure: Closure, positional: list[Any], named: dict[str, Any], site: CallSite) -> Scope:
    """The scope of a call of a lambda: names take values, record patterns take fields."""
    patterns = closure.parameters
    where = Location(closure.scope.source, closure.node.span)
    if named:
        raise faults.unknown_argument("this function", next(iter(named)), site.name_of(next(iter(named))), [])
    if len(positional) != len(patterns):
        text = f"this function takes {len(patterns)} arguments, but gets {len(positional)}"
        forms = "write row => ..., ({image, label}) => ..., or (x, y) => ... for the input and the target"
        help = forms if len(positional) and isinstance(positional[0], Row | Tensor) else None
        if help is None and not site.in_library and site.spans:  # the recipe's own call of its own function
            here = [Related(where, "the function that is called")]
            raise faults.wrong_pattern(text, site.location, None, here)
        raise faults.wrong_pattern(text, where, help)
    scope = closure.scope.child()
    for pattern, value in zip(patterns, positional, strict=True):
        if isinstance(pattern, nodes.RecordPattern):
            _bind_record(pattern, value, scope, closure)
        else:
            scope.names[pattern.name] = value
    return scope


def _bind_record(pattern: nodes.RecordPattern, value: Any, scope: Scope, closure: Closure) -> None:
    if not isinstance(value, Record):
        where = Location(closure.scope.source, pattern.span)
        raise faults.wrong_pattern(f"this pattern takes a record, but gets {describe(value)}", where)
    for part in pattern.fields:
        if part.field not in value:
            where = Location(closure.scope.source, part.span)
            if not isinstance(value, Row):
                raise faults.unknown_field(part.field, where, list(value), "what this pattern takes")
            raise faults.missing_column(part.field, where, list(value), "the row")
        scope.names[part.name] = value[part.field]
