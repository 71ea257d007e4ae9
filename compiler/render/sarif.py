"""Diagnostics as SARIF 2.1.0, which code hosts and editors show beside the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from etude.compiler.diagnostics import Diagnostic, Fix, Location
from etude.compiler.render.json import place_to_json

Json = Any
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def diagnostics_to_sarif(diagnostics: Iterable[Diagnostic], version: str, story: Callable[[str], str | None]) -> Json:
    """A SARIF log with one run. `story` gives the first sentence of a code's explanation, if there is one."""
    items = list(diagnostics)
    codes = sorted({item.code for item in items})
    driver = {
        "name": "etude",
        "semanticVersion": version,
        "rules": [_rule(code, story(code)) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(item, codes.index(item.code)) for item in items],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, story: str | None) -> Json:
    rule: dict[str, Json] = {"id": code, "defaultConfiguration": {"level": _level(code)}}
    return rule | ({"shortDescription": {"text": story}} if story else {})


def _level(code: str) -> str:
    return "warning" if code.startswith("W") else "error"


def _result(diagnostic: Diagnostic, rule_index: int) -> Json:
    text = diagnostic.message + (f" ({diagnostic.label})" if diagnostic.label else "")
    if diagnostic.help:
        text += f"\nhint: {diagnostic.help}"
    result: dict[str, Json] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule_index,
        "level": _level(diagnostic.code),
        "message": {"text": text},
        "locations": [_location(diagnostic.location)],
    }
    if diagnostic.related:
        result["relatedLocations"] = [
            {"id": i, **_location(item.location), "message": {"text": item.label or "related"}}
            for i, item in enumerate(diagnostic.related)
        ]
    if diagnostic.fixes:
        result["fixes"] = [_fix(fix) for fix in diagnostic.fixes]
    return result


def _location(location: Location) -> Json:
    return {"physicalLocation": {"artifactLocation": _artifact(location), "region": _region(location)}}


def _artifact(location: Location) -> Json:
    path = PurePath(location.source.name)
    return {"uri": path.as_uri() if path.is_absolute() else quote(path.as_posix())}


def _region(location: Location) -> Json:
    place = place_to_json(location)
    return {
        "startLine": place["line"],
        "startColumn": place["column"],
        "endLine": place["end_line"],
        "endColumn": place["end_column"],
        "charOffset": location.span.start,
        "charLength": location.span.end - location.span.start,
    }


def _fix(fix: Fix) -> Json:
    changes: dict[str, Json] = {}
    for edit in fix.edits:
        change = changes.setdefault(
            edit.location.source.name, {"artifactLocation": _artifact(edit.location), "replacements": []}
        )
        change["replacements"].append({"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.text}})
    return {"description": {"text": fix.title}, "artifactChanges": list(changes.values())}
