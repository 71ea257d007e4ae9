"""What holds for every tree: strategies for the trees that a parser could have made, and the properties."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etude.grammar import nodes as n
from etude.grammar.equality import first_difference
from etude.grammar.formatter import format_source
from etude.grammar.literals import SCALES, UNITS
from etude.grammar.operators import LEVELS
from etude.grammar.parser import parse
from etude.grammar.printer import print_program
from etude.grammar.situation import KEYWORDS

NOWHERE = n.Span(0, 0)

names = st.one_of(
    st.sampled_from(["x", "y", "data", "net", "_", "loss", "as_label", "input", "iffy", "order"]),
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,11}", fullmatch=True).filter(lambda name: name not in KEYWORDS),
)
block_keys = st.one_of(names, st.sampled_from(sorted(KEYWORDS - {"and", "or"})))
keys = st.one_of(block_keys, st.sampled_from(["and", "or"]))
text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


def node(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, span=st.just(NOWHERE), **fields)


def tuples(items: st.SearchStrategy[Any], min_size: int = 0, max_size: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(items, min_size=min_size, max_size=max_size).map(tuple)


def _number(value: int | float) -> n.Number:
    return n.Number(value, repr(value), span=NOWHERE)


def _quantity(value: int, prefix: str, unit: str) -> n.Quantity:
    return n.Quantity(value, prefix, unit, f"{value}{prefix}{unit}", span=NOWHERE)


counts = st.integers(0, 10**6)
floats = st.floats(0, 1e300, allow_nan=False, allow_infinity=False, allow_subnormal=False).map(abs)
numbers = st.one_of(counts, floats).map(_number)
quantities = st.one_of(
    st.builds(_quantity, counts, st.just(""), st.sampled_from(UNITS)),
    st.builds(
        _quantity, counts, st.sampled_from(SCALES), st.sampled_from(["", "epochs", "steps", "tokens", "examples"])
    ),
)
atoms = st.one_of(
    node(n.Name, name=names),
    numbers,
    quantities,
    node(n.String, value=text),
    node(n.Boolean, value=st.booleans()),
)
named_types = st.deferred(
    lambda: node(
        n.NamedType, name=st.one_of(names, st.just("fn")), arguments=tuples(types, 0, 2), optional=st.booleans()
    )
)
types: st.SearchStrategy[Any] = st.one_of(
    st.deferred(lambda: named_types),
    node(n.NamedType, name=names, size=st.integers(0, 99), optional=st.booleans()),
    st.deferred(lambda: node(n.RecordType, fields=tuples(st.tuples(keys, named_types), 1, 2))),
)


def _unique(patterns: tuple[n.Pattern, ...]) -> bool:
    bound = [f.name for p in patterns for f in (p.fields if isinstance(p, n.RecordPattern) else (p,)) if f.name != "_"]
    return len(bound) == len(set(bound))


def _pattern_field(field: str, name: str) -> n.PatternField:
    return n.PatternField(name if field in KEYWORDS and field == name else field, name, span=NOWHERE)


patterns = st.one_of(
    node(n.NamePattern, name=names),
    node(n.RecordPattern, fields=tuples(st.builds(_pattern_field, keys, names), 0, 2)),
)
operators = st.sampled_from([o for level in LEVELS for o in level if o not in ("not", "|>", "unary -")])


def parameters(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parameter = node(n.Parameter, name=names, type=st.none() | types, default=st.none() | expr)
    return tuples(parameter, 0, 2)


def bodies(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return node(n.Body, statements=tuples(bindings(expr) | functions(expr, atoms), 0, 2), result=expr)


def bindings(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return node(n.Binding, name=names, name_span=st.just(NOWHERE), value=expr)


doc_lines = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
docs = st.none() | st.lists(doc_lines, min_size=1, max_size=2).map("\n".join)


def functions(expr: st.SearchStrategy[Any], body: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return node(
        n.Fn,
        name=names,
        name_span=st.just(NOWHERE),
        parameters=parameters(expr),
        returns=st.none() | types,
        body=body,
        doc=docs,
    )


def arguments(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(node(n.Argument, value=expr), _named(expr, keys), _spread(expr))


def entries(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return tuples(st.one_of(_named(expr, block_keys), _spread(expr)))


def _named(expr: st.SearchStrategy[Any], key: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return node(n.Argument, value=expr, name=key, name_span=st.just(NOWHERE))


def _spread(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return node(n.Argument, value=expr, is_spread=st.just(True))


def calls(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return node(n.Call, callee=expr, arguments=tuples(arguments(expr)), block=st.none() | entries(expr))


def fields(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pun = names.map(lambda name: n.Field(name, n.Name(name, span=NOWHERE), True, span=NOWHERE))
    return st.one_of(node(n.Field, name=keys, value=expr), pun, node(n.Spread, value=expr))


def _compound(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    clauses = tuples(node(n.Clause, name=names, iterable=expr), 1, 2)
    ends = {"start": st.none() | expr, "stop": st.none() | expr}
    index_items = st.one_of(
        expr, node(n.Slice, **ends), node(n.Strided, **ends, step=expr), node(n.Ellipsis), node(n.Newaxis)
    )
    heads = [(names, expr), (st.none(), st.none())]
    loops = [
        node(n.Loop, carry=names, start=expr, variable=v, iterable=i, condition=st.none() | expr, body=bodies(expr))
        for v, i in heads
    ]
    return st.one_of(
        node(n.ListExpr, items=tuples(expr)),
        node(n.Comprehension, element=expr, clauses=clauses, condition=st.none() | expr),
        node(n.RecordExpr, fields=tuples(fields(expr))),
        node(n.Lambda, parameters=tuples(patterns).filter(_unique), body=expr | bodies(expr)),
        node(n.Conditional, condition=expr, then=expr, otherwise=expr),
        node(n.Binary, operator=operators, left=expr, right=expr),
        node(n.Unary, operator=st.sampled_from(["-", "not"]), operand=expr),
        node(n.Pipe, value=expr, call=calls(expr)),
        node(n.Attribute, value=expr, name=keys, name_span=st.just(NOWHERE)),
        calls(expr),
        node(n.Index, value=expr, items=tuples(index_items, 1)),
        *loops,
    )


expressions = st.recursive(atoms, _compound, max_leaves=12)
statements = st.one_of(
    st.one_of(
        node(
            n.Use,
            path=st.lists(names, min_size=1, max_size=3).map(".".join),
            is_file=st.just(False),
            alias=st.none() | names,
        ),
        node(n.Use, path=text, is_file=st.just(True), alias=st.none() | names),
    ),
    node(
        n.Param,
        name=names,
        name_span=st.just(NOWHERE),
        type=types,
        default=st.none() | expressions,
        range=st.none() | expressions,
    ),
    bindings(expressions),
    functions(expressions, expressions | bodies(expressions)),
    node(
        n.ModelDef,
        name=names,
        name_span=st.just(NOWHERE),
        configuration=parameters(expressions),
        inputs=parameters(expressions),
        body=bodies(expressions),
        doc=docs,
    ),
    node(n.Expect, claim=expressions, because=st.none() | text),
    node(n.Assume, claim=expressions, because=text),
    node(n.Report, entries=entries(expressions)),
)
programs = node(n.Program, statements=tuples(statements))

steady = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@steady
@given(programs)
def test_a_printed_tree_parses_to_itself(program: n.Program) -> None:
    printed = print_program(program)

    assert first_difference(parse(printed), program) is None, printed


@steady
@given(programs)
def test_formatting_what_was_printed_keeps_the_tree_and_comes_to_rest(program: n.Program) -> None:
    formatted = format_source(print_program(program))

    assert first_difference(parse(formatted), program) is None, formatted
    assert format_source(formatted) == formatted
