"""Diagnostics for programs: JSON and SARIF."""

from __future__ import annotations

from etude.compiler.diagnostics import Diagnostic, Edit, Fix, Location, Related, Source
from etude.compiler.render.json import diagnostics_to_json
from etude.compiler.render.sarif import diagnostics_to_sarif
from etude.grammar.nodes import Span

SOURCE = Source("dir with blank/a.etude", "é = 1\nnet = flaten >> linear(10)\n")
PLACE = Location(SOURCE, Span(12, 18))
DIAGNOSTIC = Diagnostic(
    "E201",
    "unknown name 'flaten'",
    PLACE,
    "not defined here",
    (Related(Location(SOURCE, Span(0, 1)), "see"),),
    "did you mean 'flatten'?",
    (Fix("replace it", (Edit(PLACE, "flatten"),)),),
)


def test_json_is_what_the_manual_documents() -> None:
    place = {"file": "dir with blank/a.etude", "line": 2, "column": 7, "end_line": 2, "end_column": 13}
    assert diagnostics_to_json(["dir with blank/a.etude"], [DIAGNOSTIC]) == {
        "files": ["dir with blank/a.etude"],
        "diagnostics": [
            {
                "code": "E201",
                "severity": "error",
                "message": "unknown name 'flaten'",
                **place,
                "label": "not defined here",
                "related": [
                    {
                        "file": "dir with blank/a.etude",
                        "line": 1,
                        "column": 1,
                        "end_line": 1,
                        "end_column": 2,
                        "label": "see",
                    }
                ],
                "help": "did you mean 'flatten'?",
                "fixes": [
                    {
                        "title": "replace it",
                        "edits": [{"file": "dir with blank/a.etude", "start": 12, "end": 18, "text": "flatten"}],
                        "safe": True,
                    }
                ],
            }
        ],
    }


def test_sarif_has_a_rule_for_each_code_and_a_result_for_each_message() -> None:
    warning = Diagnostic("W403", "one seed", PLACE)
    log = diagnostics_to_sarif([DIAGNOSTIC, warning, DIAGNOSTIC], "0.1.0", {"E201": "a name"}.get)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == ["E201", "W403"]
    assert rules[0]["shortDescription"] == {"text": "a name"}
    assert "shortDescription" not in rules[1]
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("E201", "error"),
        ("W403", "warning"),
        ("E201", "error"),
    ]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_sarif_places_are_one_based_with_an_exclusive_end_in_code_points() -> None:
    (run,) = diagnostics_to_sarif([DIAGNOSTIC], "0.1.0", lambda code: None)["runs"]
    (result,) = run["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert physical["artifactLocation"] == {"uri": "dir%20with%20blank/a.etude"}
    assert physical["region"] == {
        "startLine": 2,
        "startColumn": 7,
        "endLine": 2,
        "endColumn": 13,
        "charOffset": 12,
        "charLength": 6,
    }
    replacement = result["fixes"][0]["artifactChanges"][0]["replacements"][0]
    assert replacement["insertedContent"] == {"text": "flatten"}
    assert replacement["deletedRegion"] == physical["region"]
    assert result["relatedLocations"][0]["message"] == {"text": "see"}


def test_an_absolute_file_becomes_a_file_uri() -> None:
    source = Source("/data/a.etude", "x")
    (run,) = diagnostics_to_sarif([Diagnostic("E101", "m", Location(source, Span(0, 1)))], "1", lambda code: None)[
        "runs"
    ]
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "file:///data/a.etude"}
