from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.grammar import nodes as n
from etude.grammar import tables
from etude.grammar.automaton import Automaton
from etude.grammar.build import Builder
from etude.grammar.equality import first_difference, same_tree
from etude.grammar.faults import SyntaxFault
from etude.grammar.parser import parse, parse_with_warnings
from etude.grammar.walk import descendants

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.etude"))
quick = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def strict_parser() -> object:
    return tables.build(tables.GRAMMAR.read_text(), strict=True)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_parses_without_a_word(path: Path) -> None:
    program, warnings = parse_with_warnings(path.read_text())

    assert program.statements
    assert not warnings


def test_the_grammar_has_no_conflict_in_strict_mode(strict_parser: object) -> None:
    assert strict_parser is not None


@quick
@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('"#=(){}[].%0123e_\\\n ')), max_size=60))
def test_every_text_is_a_tree_or_a_fault(text: str) -> None:
    try:
        parse(text)
    except SyntaxFault as fault:
        assert 0 <= fault.span.start <= fault.span.end <= len(text)
        assert fault.message and fault.label


KEYS = "x y fn model use param expect report return if then else loop for in and or not because def lambda elif"
SIGNS = """= ( ) { } [ ] , : . .. ... => -> |> + - * ** > == ? 1 10% 3k5 "s" ; # '"""
words = st.sampled_from([*KEYS.split(), *SIGNS.split(), "\n"])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(words, max_size=14))
def test_every_row_of_words_is_a_tree_or_a_fault(row: list[str]) -> None:
    text = " ".join(row)
    try:
        parse(text)
    except SyntaxFault as fault:
        assert 0 <= fault.span.start <= fault.span.end <= len(text)
        assert fault.message and fault.label


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_breaks_off_is_a_fault_inside_its_text(path: Path) -> None:
    text = path.read_text()
    for end in range(0, len(text), 37):
        try:
            parse(text[:end])
        except SyntaxFault as fault:
            assert 0 <= fault.span.start <= fault.span.end <= end


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_spans_of_children_lie_within_those_of_their_parents(path: Path) -> None:
    text = path.read_text()
    for node in descendants(parse(text)):
        assert text[node.span.start : node.span.end] == text[node.span.start : node.span.end].strip() or isinstance(
            node, n.Program
        )
        for child in list(descendants(node))[1:]:
            assert node.span.start <= child.span.start <= child.span.end <= node.span.end


def test_parentheses_widen_the_span_of_what_they_hold() -> None:
    text = "x = (a + b) * c"
    binding = parse(text).statements[0]
    assert isinstance(binding, n.Binding)
    product = binding.value
    assert isinstance(product, n.Binary)

    assert text[product.left.span.start : product.left.span.end] == "(a + b)"
    assert text[product.span.start : product.span.end] == "(a + b) * c"


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 10_000 + "1" + ")" * 10_000,
        "x = " + "(" * 10_000,
        "x = " + "[" * 10_000 + "]" * 10_000,
        "x = " + "{a: " * 10_000,
        "x = " + "1 + " * 10_000 + "1",
        "x = " + "-" * 10_000 + "1",
        "x = " + "2 ** " * 10_000 + "1",
        "x = f" + "()" * 10_000,
        "x = a" + ".b" * 10_000,
        "x = " + "y => " * 10_000 + "1",
        "x = " + "if a then b else " * 10_000 + "1",
        "x = a" + " |> f()" * 10_000,
    ],
    ids=lambda text: text[4:12],
)
def test_deep_nesting_is_refused_in_no_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(SyntaxFault) as found:
        parse(text)

    assert found.value.code == "E110"
    assert time.process_time() - start < 2


def test_a_call_on_the_next_line_is_warned_about_and_an_index_too() -> None:
    _, warnings = parse_with_warnings("a = b\n(c)\nd = e\n  [0]\nf = g(\n  (h)\n)")

    assert [(warning.code, warning.span.start) for warning in warnings] == [("W101", 6), ("W101", 18)]


def test_threads_may_parse_at_the_same_time() -> None:
    texts = [path.read_text() for path in RECIPES]
    alone = [parse(text) for text in texts]
    together: list[n.Program | None] = [None] * len(texts)

    def work(i: int) -> None:
        together[i] = parse(texts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together == alone


def test_trees_are_compared_without_their_spans() -> None:
    assert same_tree(parse("x = f(a, b = 1)"), parse("x  =  f( a , b=1 )"))
    assert first_difference(parse("x = 1"), parse("x = 2")) == ".statements[0].value.text: '1' and '2'"
    assert first_difference(parse("x = [1]"), parse("x = [1, 1]")) == ".statements[0].value.items: 1 items and 2"
    assert not same_tree(parse("x = 1"), parse("x = a"))


class TestTables:
    def test_the_second_parser_reads_what_the_first_one_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        built = Automaton(tables.load(), Builder()).parse("x = f(1)")
        kept = list((tmp_path / "etude").iterdir())
        monkeypatch.setattr(tables, "build", None)

        assert len(kept) == 1
        assert Automaton(tables.load(), Builder()).parse("x = f(1)") == built

    def test_a_damaged_table_is_built_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        tables.load()
        (table,) = (tmp_path / "etude").iterdir()
        whole = table.read_bytes()
        table.write_bytes(whole[: len(whole) // 2])

        assert Automaton(tables.load(), Builder()).parse("x = 1")
        monkeypatch.setattr(tables, "build", None)
        assert Automaton(tables.load(), Builder()).parse("x = 1")

    def test_a_cache_folder_that_cannot_be_made_is_done_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        occupied = tmp_path / "file"
        occupied.write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(occupied))

        assert Automaton(tables.load(), Builder()).parse("x = 1")


def test_importing_the_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys, etude.grammar.parser; "
        "print([m for m in ('numpy', 'torch', 'jax', 'rich', 'pydantic', 'networkx', 'etude.compiler', 'difflib', "
        "'lark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
