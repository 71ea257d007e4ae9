"""Diagnostics as text: the pictures that people see."""

from __future__ import annotations

import re

from etude.compiler.diagnostics import Diagnostic, Edit, Fix, Location, Related, Source
from etude.compiler.render.ansi import Paint
from etude.compiler.render.text import render_text, summarize
from etude.grammar.nodes import Span

RECIPE = Source(
    "a.etude",
    """use std.vision
digits = load("sklearn:digits") |> split(train = 60%, valid = 20%)
\tschön = "日本語" + acuracy(few)
t = train(on = few) {
  loss = (x, y) => cross_entropy(m(x), y)
  batch = 1
  seed = 2
  clip = 3
  keep = 4
}
""",
)
LIBRARY = Source("std/vision.etude", "fn accuracy(m) = 3\n")


def at(text: str, source: Source = RECIPE, *, until: str = "") -> Location:
    start = source.text.index(text)
    end = source.text.index(until, start) + len(until) if until else start + len(text)
    return Location(source, Span(start, end))


def rendered(diagnostic: Diagnostic) -> str:
    return render_text([diagnostic])


def test_a_message_shows_the_line_a_caret_a_hint_and_the_fix() -> None:
    fix = Fix("replace 'acuracy' by 'accuracy'", (Edit(at("acuracy"), "accuracy"),))
    place = Related(at("accuracy", LIBRARY), "this one is near")
    text = rendered(
        Diagnostic(
            "E201", "unknown name 'acuracy'", at("acuracy"), "not defined here", (place,), "did you mean it?", (fix,)
        )
    )
    assert text == (
        "error[E201]: unknown name 'acuracy'\n"
        " --> a.etude:3:18\n"
        "  |\n"
        '3 |     schön = "日本語" + acuracy(few)\n'
        "  |                        ^^^^^^^ not defined here\n"
        " ::: std/vision.etude:1:4\n"
        "  |\n"
        "1 | fn accuracy(m) = 3\n"
        "  |    -------- this one is near\n"
        "  |\n"
        "  = hint: did you mean it?\n"
        "  = fix: replace 'acuracy' by 'accuracy' (applied by --fix)\n"
    )


def test_wide_characters_take_two_cells() -> None:
    text = rendered(Diagnostic("E301", "text", at('"日本語"'), "here"))
    assert "  |             ^^^^^^^^ here\n" in text


def test_two_marks_on_a_line_hang_below_each_other() -> None:
    text = rendered(
        Diagnostic("E303", "two", at("60%"), "first", (Related(at("20%"), "second"), Related(at("digits"), "name")))
    )
    assert text.splitlines()[3:] == [
        '2 | digits = load("sklearn:digits") |> split(train = 60%, valid = 20%)',
        "  | ------                                           ^^^          --- second",
        "  | |                                                |",
        "  | |                                                first",
        "  | name",
    ]


def test_a_mark_inside_another_keeps_both_labels() -> None:
    whole = at("split(", until="20%)")
    lines = rendered(Diagnostic("E303", "nested", whole, "the call", (Related(at("60%"), "inner"),))).splitlines()
    assert lines[4].count("^") == len("split(train = 60%, valid = 20%)")
    assert lines[-2:] == [
        "  |                                    |             inner",
        "  |                                    the call",
    ]


def test_a_span_over_many_lines_has_a_bracket_and_leaves_out_its_middle() -> None:
    text = rendered(Diagnostic("E302", "block", at("t = train", until="}"), "this block"))
    assert text == (
        "error[E302]: block\n"
        "  --> a.etude:4:1\n"
        "   |\n"
        " 4 | / t = train(on = few) {\n"
        " 5 | |   loss = (x, y) => cross_entropy(m(x), y)\n"
        " 6 | |   batch = 1\n"
        "...\n"
        " 9 | |   keep = 4\n"
        "10 | | }\n"
        "   | |_^ this block\n"
    )


def test_a_span_that_starts_within_a_line_shows_where() -> None:
    lines = rendered(Diagnostic("E302", "block", at("train(on", until="}"), "this")).splitlines()
    assert lines[3:5] == [" 4 |   t = train(on = few) {", "   |  _____^"]


def test_the_end_of_the_file_can_be_pointed_at() -> None:
    end = len(RECIPE.text)
    text = rendered(Diagnostic("E113", "not closed", Location(RECIPE, Span(end, end)), "expected `}`"))
    assert text.splitlines()[-2:] == ["11 |", "   | ^ expected `}`"]


def test_an_empty_file_can_be_pointed_at() -> None:
    text = rendered(Diagnostic("E101", "empty", Location(Source("e.etude", ""), Span(0, 0)), "here"))
    assert text.splitlines()[-2:] == ["1 |", "  | ^ here"]


def test_a_very_long_line_is_cut_around_the_mark() -> None:
    source = Source("long.etude", "x = [" + "1, " * 5000 + "oops]\n")
    lines = rendered(Diagnostic("E201", "long", at("oops", source), "here")).splitlines()
    assert max(map(len, lines)) < 180
    assert lines[3].startswith("1 | …")
    assert lines[3].index("oops") == lines[4].index("^")


def test_control_characters_never_reach_the_terminal() -> None:
    source = Source("evil.etude", "x = \x1b[31m\x07 oops\n")
    lines = rendered(Diagnostic("E104", "control", at("oops", source), "here")).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[3].index("oops") == lines[4].index("^")


def test_windows_line_ends_do_not_show() -> None:
    source = Source("dos.etude", "a = 1\r\nb = oops\r\n")
    text = rendered(Diagnostic("E201", "dos", at("oops", source), "here"))
    assert "\r" not in text
    assert "2 | b = oops\n" in text


def test_warnings_say_so_and_hints_may_have_lines() -> None:
    text = rendered(Diagnostic("W403", "one seed", at("acuracy"), help="first line\nsecond line"))
    assert text.startswith("warning[W403]: one seed\n")
    assert text.endswith("  = hint: first line\n          second line\n")


def test_colours_change_nothing_but_the_colour() -> None:
    diagnostic = Diagnostic("E302", "block", at("t = train", until="}"), "this", (Related(at("few"), "few"),), "hint")
    coloured = render_text([diagnostic], Paint(True))
    assert "\x1b[1;31merror[E302]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_text([diagnostic])


def test_a_summary_counts() -> None:
    error, warning = Diagnostic("E201", "", at("few")), Diagnostic("W101", "", at("few"))
    assert summarize([error, error, warning]) == "2 errors, 1 warning"
    assert summarize([]) == "no problems"
