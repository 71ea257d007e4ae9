from __future__ import annotations

import random
from pathlib import Path

import pytest

from etude.grammar import formatter
from etude.grammar.comments import comments_of
from etude.grammar.equality import same_tree
from etude.grammar.formatter import FormatRefused, format_source
from etude.grammar.parser import parse
from etude.grammar.printer import print_program

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.etude"))
WIDTH = 120
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


@each_recipe
def test_a_recipe_stays_as_it_is_but_for_lines_that_are_too_long(path: Path) -> None:
    text = path.read_text()
    kept = set(format_source(text).splitlines())
    changed = [line for line in text.splitlines() if line not in kept]

    # One `because` of data_diet.etude stands behind spaces, in no column with the next.
    assert [line for line in changed if len(line) <= WIDTH and not line.startswith("expect finds > 0.9   ")] == []


@each_recipe
def test_a_formatted_recipe_keeps_tree_and_comments_and_comes_to_rest(path: Path) -> None:
    text = path.read_text()
    formatted = format_source(text)

    assert same_tree(parse(formatted), parse(text))
    assert [c.text for c in comments_of(formatted)] == [c.text for c in comments_of(text)]
    assert format_source(formatted) == formatted


@each_recipe
def test_a_recipe_printed_without_its_text_is_the_same_program(path: Path) -> None:
    program = parse(path.read_text())

    assert same_tree(parse(print_program(program)), program)


@each_recipe
def test_comments_and_line_breaks_in_any_place_are_kept(path: Path) -> None:
    rng = random.Random(path.stem)
    for _ in range(6):
        text = disturbed(path.read_text(), rng)
        formatted = format_source(text)

        assert sorted(c.text for c in comments_of(formatted)) == sorted(c.text for c in comments_of(text))
        assert same_tree(parse(formatted), parse(text))


def disturbed(text: str, rng: random.Random) -> str:
    """Put comments, line breaks and spaces between tokens, where every space of the text is between tokens."""
    pieces: list[str] = []
    for i, line in enumerate(text.split("\n")):
        if "#" in line or '"' in line or rng.random() < 0.7:
            pieces.append(line)
            continue
        words = line.split(" ")
        at = rng.randrange(len(words))
        words.insert(at, rng.choice(["\n", "\n\n\n", f"# c{i}\n", f"\n# c{i}\n  # d{i}\n", f"\n\n# c{i}\n\n"]))
        pieces.append(" ".join(words))
    return "\n".join(pieces)


def test_a_text_is_left_alone_when_formatting_would_change_its_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter, "print_program", lambda program, layout: "x = 2\n")

    with pytest.raises(FormatRefused, match=r"change the tree at \.statements"):
        format_source("x = 1")


def test_a_text_is_left_alone_when_formatting_would_lose_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter, "print_program", lambda program, layout: "x = 1\n")

    with pytest.raises(FormatRefused, match="change comments: \\['# why'\\]"):
        format_source("x = 1  # why")


def test_a_text_is_left_alone_when_formatting_does_not_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    def restless(program: object, layout: object) -> str:
        lines.append("")
        return "x = 1\n" + "\n" * len(lines)

    monkeypatch.setattr(formatter, "print_program", restless)

    with pytest.raises(FormatRefused, match="come to rest"):
        format_source("x = 1")


def test_neighbours_stay_aligned_in_a_column_of_their_own() -> None:
    text = "a      = 1  # one\nlonger = 22   # two\n\nb = 3\n"

    assert format_source(text) == text


def test_comments_in_one_column_stay_in_one_column() -> None:
    assert format_source("a=1     # one\nb = 22  # two\n") == "a = 1   # one\nb = 22  # two\n"


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ("1 + ", "", 190),
        ("f(", ")", 60),
        ("[", "]", 90),
        ("{a: ", "}", 60),
        ("y => ", "", 190),
        ("if a then b else ", "", 190),
        ("2 ** ", "", 190),
        ("-", "", 190),
        ("(a + ", ")", 95),
        ("y => { z = ", " return z }", 45),
        ("f() { a = ", "}", 60),
    ],
)
def test_what_is_just_not_nested_too_deep_can_be_formatted(before: str, after: str, count: int) -> None:
    text = "x = " + before * count + "1" + after * count

    assert same_tree(parse(format_source(text)), parse(text))
