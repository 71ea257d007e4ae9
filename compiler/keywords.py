"""What the words mean that statements and expressions are made of, for those who ask by name."""

from __future__ import annotations

from collections.abc import Mapping

RULES: Mapping[str, tuple[str, str, str]] = {
    "use": (
        "use",
        'use std.ssl    use "lib/tune.etude" as tune',
        "Opens a module of the library, or a file beside the recipe under a name.",
    ),
    "param": (
        "param",
        "param labels: fraction = 10% in 1%..100%",
        "A value that `--set labels=5%` can replace; its type, and the range that it must be in, are checked.",
    ),
    "fn": (
        "fn",
        "fn acc(m: Model, on: Dataset = test) = e    fn tune(m) { t = ...   return t.m }",
        "A function. It is expanded wherever it is called, so there is no recursion.",
    ),
    "model": (
        "model",
        "model block(heads: int, ratio: int = 4)(x) { ... return y }",
        "A constructor of models: configuration first, then the inputs. Its body is a tensor program that may make "
        "weights and other models.",
    ),
    "expect": (
        "expect",
        'expect acc(a) > acc(b) + 1% because "why this should hold"',
        "A claim, judged after the run: it holds, fails, or cannot be told. `etude run` ends with 3 when one fails.",
    ),
    "assume": (
        "assume",
        'assume disjoint(a, b) because "..."',
        "The recipe's word that two datasets share no row, where the compiler cannot prove it.",
    ),
    "report": (
        "report",
        "report { table = table(rows)   curves = plot(m.history) }",
        "What the report shows, one name a line: tables, figures, measured values.",
    ),
    "loop": (
        "loop",
        "loop (acc = start, x in xs, while cond) { ... return next }",
        "Goes over a list or a range, or on while a condition holds, and carries a value. Outside of programs it is "
        "unrolled into stages; in a program a loop over a range is one operation.",
    ),
    "if": (
        "conditional",
        "if condition then a else b",
        "One of two values, by a condition known before the run. By a measured one: `when`; within a program: `where`.",
    ),
}
"""Name to the rule of the grammar, how it is written, and what it means."""
