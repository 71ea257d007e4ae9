"""Pieces of the report's HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from etude.runtime.report.numbers import column_texts, mean_and_deviation, number_text, value_text
from etude.runtime.results import ClaimResult

Json = Any
LONG = 60  # rows from which on a table scrolls in a box of its own
CLASSES = {"holds": "holds", "fails": "fails", "cannot tell": "unsure"}
WORDS = "use|param|fn|model|expect|assume|because|report|return|if|then|else|for|in|loop|while|and|or|not|true|false|as"
TOKEN = re.compile(rf"(?P<comment>#[^\n]*)|(?P<string>\"(?:[^\"\\\n]|\\.)*\")|(?P<word>\b(?:{WORDS})\b)")


def verdict_pill(verdict: str, text: str = "") -> str:
    return f'<span class="pill {CLASSES[verdict]}">{escape(text or verdict)}</span>'


def claim_card(claim: ClaimResult, made: str) -> str:
    """A claim with its verdict, its reason, and the values that decided it."""
    because = f'<p class="because">because {escape(claim.because)}</p>' if claim.because else ""
    rows = {text: value_text(value) for text, value in claim.values.items()}
    rows |= _comparisons(claim.detail)
    if "message" in claim.detail:
        rows["no verdict"] = str(claim.detail["message"])
    return (
        f'<section class="claim is-{CLASSES[claim.verdict]}"><header><code>{escape(claim.text)}</code>'
        f"{verdict_pill(claim.verdict)}</header>{because}{definitions(rows)}{made}</section>\n"
    )


def _comparisons(detail: Mapping[str, Json]) -> dict[str, str]:
    """What `better` found, in words."""
    rows = {}
    for position, found in enumerate(detail.get("better", ())):
        name = "difference" if position == 0 else f"difference {position + 1}"
        if found["low"] is None:
            rows[name] = found["reason"]
            continue
        rows[name] = (
            f"{number_text(found['mean_difference'])} on average over {found['runs']} runs, between "
            f"{number_text(found['low'])} and {number_text(found['high'])} with {found['confidence']:.0%} confidence "
            f"on each side; better in {found['wins']} of {found['runs']}"
        )
    return rows


def definitions(rows: Mapping[str, str]) -> str:
    """Names and values, side by side."""
    if not rows:
        return ""
    items = "".join(f"<dt><code>{escape(name)}</code></dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"<dl>{items}</dl>"


def data_table(table: Json) -> str:
    """A table; columns of several measured numbers, which ints are not, get their mean and deviation below."""
    columns = list(zip(*table["rows"], strict=True)) if table["rows"] else [() for _ in table["columns"]]
    numeric = [bool(column) and all(isinstance(v, int | float) or v is None for v in column) for column in columns]
    heads = "".join(_cell("th", name, right) for name, right in zip(table["columns"], numeric, strict=True))
    texts = zip(*map(column_texts, columns), strict=True) if table["rows"] else ()
    rows = ("".join(_cell("td", text, right) for text, right in zip(row, numeric, strict=True)) for row in texts)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    measured = [
        right and any(isinstance(v, float) for v in column) for column, right in zip(columns, numeric, strict=True)
    ]
    summary = [mean_and_deviation(column) if each else None for column, each in zip(columns, measured, strict=True)]
    if any(summary) and len(table["rows"]) > 1:
        body += _summary("mean", [found and found[0] for found in summary], numeric)
        body += _summary("deviation", [found and f"\u00b1 {found[1]}" for found in summary], numeric)
    box = "scroll long" if len(table["rows"]) > LONG else "scroll"
    return f'<div class="{box}"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary(name: str, values: list[str | None], numeric: list[bool]) -> str:
    """A row below a table; its name stands in the first column that has no number."""
    cells = [value or "" for value in values]
    free = next((i for i, value in enumerate(values) if value is None), None)
    if free is not None:
        cells[free] = name
    row = "".join(_cell("td", cell, right) for cell, right in zip(cells, numeric, strict=True))
    return f'<tr class="summary" title="{name}">{row}</tr>'


def plain_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, text: str, right: bool) -> str:
    return f'<{tag} class="number">{escape(text)}</{tag}>' if right else f"<{tag}>{escape(text)}</{tag}>"


def picture(pngs: Mapping[str, bytes], alt: str, *, scale: float | None = None) -> str:
    """An image for light paper and one for dark, inside the page; `scale` is how many of its pixels are one there."""
    width = f' width="{png_width(pngs["light"]) / scale:.0f}"' if scale else ""
    light, dark = (f"data:image/png;base64,{base64.b64encode(pngs[p]).decode()}" for p in ("light", "dark"))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(alt)}"{width}></picture>'
    )


def png_width(png: bytes) -> int:
    """The width that the header of a PNG gives."""
    return int.from_bytes(png[16:20])


def image(png: bytes, alt: str) -> str:
    """One image for any paper, inside the page."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}">'


def highlighted(recipe: str) -> str:
    """A recipe with its comments, strings and keywords coloured."""
    parts, at = [], 0
    for match in TOKEN.finditer(recipe):
        parts.append(escape(recipe[at : match.start()]))
        parts.append(f'<span class="{match.lastgroup}">{escape(match.group())}</span>')
        at = match.end()
    return f"<pre><code>{''.join(parts)}{escape(recipe[at:])}</code></pre>"
