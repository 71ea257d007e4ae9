"""From the place where the parser stopped to a fault in words: known mistakes first, else what was expected."""

from __future__ import annotations

from collections.abc import Callable

from etude.grammar.bad_tokens import bad_token
from etude.grammar.faults import SyntaxFault
from etude.grammar.mistakes import brackets, entries, expressions, habits, keywords, lambdas, statements
from etude.grammar.situation import Situation, span_of
from etude.grammar.words import expectation, got

Mistake = Callable[[Situation], SyntaxFault | None]

MISTAKES: tuple[Mistake, ...] = (
    habits.foreign_word,
    habits.change_in_place,
    habits.comment,
    habits.string_prefix,
    statements.unclosed_before_statement,
    statements.unfinished,
    keywords.control_flow,
    keywords.misplaced_statement,
    keywords.misspelled_keyword,
    keywords.keyword_as_name,
    statements.header,
    lambdas.missing_equals,
    lambdas.bad_parameter,
    lambdas.lambda_parameter,
    lambdas.function_parameter,
    lambdas.tuple_expression,
    statements.body_after_equals,
    statements.missing_return,
    brackets.mismatched,
    brackets.never_closed,
    entries.comma_between_entries,
    entries.equals_or_colon,
    entries.spread_in_list,
    entries.pattern_in_comprehension,
    expressions.loose_unit,
    expressions.comprehension,
    statements.no_statement,
    statements.after_return,
    expressions.conditional,
    expressions.operator,
    expressions.odd_comma,
    expressions.missing_comma,
)
"""Tried in this order; the first that knows the situation speaks."""


def explain(situation: Situation) -> SyntaxFault:
    """Say what is wrong where the parser stopped."""
    token = situation.token
    for odd in (token, situation.before):  # before: `$3`
        if odd.type.startswith("BAD_"):
            return bad_token(odd.type, str(odd), span_of(odd).start, situation.text)
    for mistake in MISTAKES:
        if fault := mistake(situation):
            return fault
    expected = expectation(situation)
    return SyntaxFault("E101", f"expected {expected}, got {got(situation)}", situation.span, f"expected {expected}")
