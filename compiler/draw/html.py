"""Pictures as a page that needs no network: inline SVG, a legend, both for light and dark paper."""

from __future__ import annotations

from html import escape

from etude.compiler.draw import palette
from etude.compiler.draw.engine import DotError, picture_to_inline_svg
from etude.compiler.draw.legend import legend_to_html
from etude.compiler.draw.picture import Picture
from etude.compiler.draw.svg import picture_to_svg

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 14px/1.5 {font}; margin: 2rem; color: {ink}; background: #fff; }}
h1 {{ font-size: 1.15rem; font-weight: 600; margin: 0 0 .4rem; }}
.legend {{ display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; color: {soft}; font-size: .8rem; margin-bottom: 1.2rem; }}
.legend i {{ display: inline-block; width: .8em; height: .8em; border-radius: .2em; border: 1px solid;
  margin-right: .4em; vertical-align: -.06em; }}
.picture {{ overflow: auto; }}
{dark}
</style>
<h1>{title}</h1>
<div class="legend">{legend}</div>
<div class="picture">
{svg}</div>
</html>
"""


def picture_to_html(picture: Picture) -> str:
    """A whole page."""
    return PAGE.format(
        title=escape(picture.title),
        font=palette.FONT,
        ink=palette.INK,
        soft=palette.SOFT_INK,
        dark=dark_style(picture),
        legend=legend_to_html(picture),
        svg=inline_svg(picture),
    )


def inline_svg(picture: Picture, *, legend: bool = False) -> str:
    """The drawing as one `svg` element, by Graphviz where it works, with its legend if wanted, else plainly."""
    try:
        return picture_to_inline_svg(picture, legend=legend)
    except DotError:
        return picture_to_svg(picture)


def dark_style(picture: Picture) -> str:
    """Style rules that redraw the inline SVG for dark paper."""
    kinds = sorted({box.kind for box in picture.boxes} | {"learns", "frozen"})
    shapes = ("path", "polygon", "rect")
    rules = ["body { color: #d8dee4; background: #16191d; }", ".legend { color: #9aa4af; }"]
    for kind in kinds:
        tone = palette.tone(kind)
        selector = ", ".join(f"svg .node.{kind} {shape}" for shape in shapes)
        rules.append(f"{selector} {{ fill: {tone.dark_fill}; stroke: {tone.dark_line}; }}")
    rules += [f"svg .cluster {shape} {{ fill: #1c2025; stroke: #343b43; }}" for shape in shapes]
    for ink, shade in ((palette.INK, "#e6e9ec"), (palette.SOFT_INK, "#a9b2bc"), (palette.FAINT_INK, "#7d8792")):
        rules.append(f'svg text[fill="{ink}"] {{ fill: {shade}; }}')
    return "@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}"
