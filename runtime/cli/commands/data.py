"""Show what a data source holds: columns, counts, classes, a few rows, a picture.

The source is what `load` takes: a file, a folder, or a name such as sklearn:digits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument, flag, number_from, option
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.runtime.reading.summary import Summary

EXAMPLES = (
    ("etude data sklearn:digits", "Columns, class balance, a few rows and a picture of the digits."),
    ("etude data flowers.csv --with label=species --json", "The same of a file, as one JSON object."),
)

Json = Any


class Options(OptionSet):
    uri: str = argument("the source: a file, a folder, or SCHEME:NAME", metavar="URI")
    settings: tuple[str, ...] = option(
        "an option of load, its value as JSON or text", name="--with", metavar="NAME=VALUE", many=True
    )
    rows: int = option("how many rows to show", metavar="N", default=5, parse=number_from(0))
    schema: bool = flag("only the columns: the data is not read")
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.sources import SourceError, describe

    settings, summary = dict(map(_setting, options.settings)), None
    try:
        schema = describe(options.uri, settings, Path())
        if not options.schema:
            from etude.runtime.reading.summary import summarize

            summary = summarize(options.uri, settings, Path(), options.rows)
    except SourceError as error:
        raise faults.UsageError(str(error)) from error
    if options.json:
        print_json({"uri": options.uri, "options": settings, **_json(schema, summary)})
    else:
        print("\n".join(_lines(options.uri, schema, summary)))
    return faults.OK


def _setting(text: str) -> tuple[str, Json]:
    """`name=value`, the value as JSON where it is. Raises UsageError."""
    import json

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise faults.UsageError(f"expected NAME=VALUE, got '{text}'", command="etude data")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _json(schema: Any, summary: Summary | None) -> dict[str, Json]:
    columns = [
        {
            "name": column.name,
            "type": str(column),
            "target": column.kind == "label" or column.is_target,
            "classes": column.classes,
            "class_names": column.class_names,
        }
        for column in schema.columns
    ]
    found: dict[str, Json] = {"columns": columns, "rows": schema.rows, "role": schema.role}
    found |= {"splits": list(schema.splits)} if schema.splits else {}
    if summary is not None:
        statistics = {name: statistic.to_json() for name, statistic in summary.statistics.items()}
        found |= {"rows": summary.rows, "statistics": statistics, "sample": summary.json_rows()}
    return found


def _lines(uri: str, schema: Any, summary: Summary | None) -> list[str]:
    paint = paint_for(sys.stdout)
    rows = schema.rows if summary is None else summary.rows
    of = f"in the parts {', '.join(schema.splits)}" if schema.splits else f"for {schema.role}"
    lines = [f"{paint(uri, 'bold')}: {_count(rows)}, {of}", ""]
    width = max(len(column.name) for column in schema.columns)
    kinds = max(len(str(column)) for column in schema.columns)
    for column in schema.columns:
        target = "target" if column.kind == "label" or column.is_target else ""
        found = "" if summary is None else summary.statistics[column.name].text()
        line = f"  {paint(f'{column.name:<{width}}', 'cyan')}  {column!s:<{kinds}}  {target:<6}  {found}"
        lines.append(line.rstrip())
    if summary is not None:
        lines += [*_balance(schema, summary), *_sample(summary), *_picture(schema, summary)]
    return lines


def _count(rows: int | None) -> str:
    return "rows not counted" if rows is None else "1 row" if rows == 1 else f"{rows:,} rows"


def _balance(schema: Any, summary: Summary) -> list[str]:
    """A bar for each class."""
    lines: list[str] = []
    for column in schema.columns:
        counts = summary.statistics[column.name].counts
        if counts is None:
            continue
        names = column.class_names or tuple(map(str, range(len(counts))))
        width, most = max(map(len, names)), max(*counts, 1)
        lines += ["", f"  {column.name}"]
        for name, count in list(zip(names, counts, strict=True))[:20]:
            lines.append(f"    {name:<{width}}  {'█' * round(24 * count / most):<24}  {count:,}")
        if len(counts) > 20:
            lines.append(f"    and {len(counts) - 20} more")
    return lines


def _sample(summary: Summary) -> list[str]:
    lines = [""] if summary.sample else []
    for number, row in enumerate(summary.text_rows()):
        lines.append(f"  row {number}  " + "  ".join(f"{name} = {value}" for name, value in row.items()))
    return lines


def _picture(schema: Any, summary: Summary) -> list[str]:
    """The first pictures of a column of images, side by side."""
    from etude.runtime.reading.blocks import is_picture, picture_lines

    for column in schema.columns:
        if is_picture(column) and summary.sample:
            pictures = [row[column.name] for row in summary.sample[:4]]
            return ["", *(f"  {line}".rstrip() for line in picture_lines(pictures, paint_for(sys.stdout).enabled))]
    return []
