from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.grammar import nodes as n
from etude.grammar.parser import parse
from etude.grammar.recovery import MAX_FAULTS, parse_all

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.etude"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_without_mistakes_is_its_whole_tree(path: Path) -> None:
    parsed = parse_all(path.read_text())

    assert not parsed.faults
    assert parsed.program == parse(path.read_text())


def test_five_mistakes_are_five_faults_and_the_rest_is_a_tree() -> None:
    text = """\
use std.ssl
a = 1 +
b = 2

def f(x):
    return x

fn g(x) {
  y = x
}

fn h(x) {
  return x > 1 > 2
}

c = f(1, 2
d = 4
"""
    parsed = parse_all(text)

    assert [(fault.code, text[: fault.span.start].count("\n") + 1) for fault in parsed.faults] == [
        ("E101", 2),
        ("E114", 5),
        ("E111", 10),
        ("E105", 13),
        ("E113", 17),
    ]
    assert [s.name for s in parsed.program.statements if isinstance(s, n.Binding)] == ["b", "d"]


def test_a_recipe_with_a_word_of_nonsense_in_one_statement_keeps_the_others() -> None:
    for path in RECIPES:
        text = path.read_text()
        whole = parse(text)
        middle = whole.statements[len(whole.statements) // 2]
        parsed = parse_all(text[: middle.span.end] + " )" + text[middle.span.end :])

        assert len(parsed.faults) == 1
        assert len(parsed.program.statements) == len(whole.statements) - 1


def test_no_more_than_a_page_of_faults_is_collected() -> None:
    assert len(parse_all("x = = 1\n" * 100).faults) == MAX_FAULTS


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.sampled_from('ab=(){}[]"#\n ;.1'), max_size=50))
def test_every_text_comes_to_an_end(text: str) -> None:
    parsed = parse_all(text)

    assert all(0 <= fault.span.start <= len(text) for fault in parsed.faults)
