"""What the colours and lines of a picture mean, as far as they are in it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from etude.compiler.draw import palette
from etude.compiler.draw.picture import Picture


def tones(picture: Picture) -> dict[palette.Tone, str]:
    """The meaning of each colour of boxes."""
    names: dict[palette.Tone, list[str]] = {}
    for kind, name in picture.kinds.items():
        names.setdefault(palette.tone(kind), []).append(name)
    return {tone: ", ".join(dict.fromkeys(found)) for tone, found in names.items()}


def lines(picture: Picture) -> Iterator[tuple[str, str, str]]:
    """(colour, style, meaning) of each kind of arrow: what flows, and why a line is not plain."""
    types = dict.fromkeys(arrow.type for arrow in picture.arrows if arrow.type in palette.FLOWS)
    named: dict[str, list[str]] = {}
    for type in types:
        named.setdefault(palette.FLOWS[type], []).append(type.lower())
    for colour, found in named.items():
        yield colour, "solid", ", ".join(found)
    if any(arrow.is_condition for arrow in picture.arrows):
        yield palette.EDGE, "dotted", "decides whether it runs"
    if any(arrow.is_feedback and not arrow.is_condition for arrow in picture.arrows):
        yield palette.EDGE, "dashed", "from the round before"


def legend_to_html(picture: Picture) -> str:
    """The legend of a page."""
    boxes = (
        f'<span><i style="background:{tone.fill};border-color:{tone.line}"></i>{escape(name)}</span>'
        for tone, name in tones(picture).items()
    )
    arrows = (
        f'<span><i style="border:0;border-top:2px {style} {colour};border-radius:0;height:.3em;width:1.4em"></i>'
        f"{escape(name)}</span>"
        for colour, style, name in lines(picture)
    )
    return "".join((*boxes, *arrows))


def legend_to_dot(picture: Picture) -> str:
    """The legend as a label of Graphviz, in two lines; "" where there is nothing to tell."""
    signs = {"solid": "\u2501\u2501", "dotted": "\u00b7\u00b7\u00b7\u00b7", "dashed": "\u2013 \u2013"}
    boxes = [_entry(tone.line, "\u25a0", name) for tone, name in tones(picture).items()]
    arrows = [_entry(colour, signs[style], name) for colour, style, name in lines(picture)]
    return " <BR/>".join("     ".join(row) for row in (boxes, arrows) if row)


def _entry(colour: str, sign: str, name: str) -> str:
    sign = f'<FONT COLOR="{colour}" POINT-SIZE="11"><B>{sign}</B></FONT>'
    return f'{sign} <FONT COLOR="{palette.SOFT_INK}" POINT-SIZE="8.5">{escape(name)}</FONT>'
