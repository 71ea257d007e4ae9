"""Pictures as SVG without Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from etude.compiler.draw import palette
from etude.compiler.draw.layout import Area, Layout, Size, lay_out
from etude.compiler.draw.picture import Arrow, Box, Frame, Picture
from etude.compiler.draw.wrapping import wrap

TITLE, NOTE, LINE = 13.0, 10.0, 1.3  # font sizes in pixels, and the height of a line
PADDING = 9.0
CHAR = 0.56  # mean width of a character of Helvetica, in font sizes
TITLE_WIDTH, NOTE_WIDTH = 28, 34


def picture_to_svg(picture: Picture) -> str:
    """One `svg` element, with the classes that `dot` gives too."""
    layout = lay_out(picture, {box.id: _size(box) for box in picture.boxes})
    ends = _ends(picture, layout)
    width, height = round(layout.width), round(layout.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{palette.FONT}">',
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0,1 L9,5 L0,9" fill="none" stroke="{palette.EDGE}" '
        'stroke-width="1.5"/></marker></defs>',
        *(_frame(frame, layout) for frame in picture.frames),
        *(line for arrow in picture.arrows for line in _arrow(arrow, layout, ends.get(arrow))),
        *(line for box in picture.boxes for line in _box(box, layout.boxes[box.id])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _texts(box: Box) -> list[tuple[str, float, str, str]]:
    """(text, size, colour, style) of each line of a box."""
    small = box.kind == "operation"
    *titles, last = wrap(box.title, TITLE_WIDTH + 6 * (box.kind == "claim")) or [" "]
    titles.append(f"{last}  {box.badge}" if box.badge else last)
    weight = "" if box.kind in ("claim", "operation") else ' font-weight="600"'
    rows = [(line, NOTE if small else TITLE, palette.INK, weight) for line in titles]
    slant = ' font-style="italic"' if box.kind == "claim" else ""
    rows += [(line, NOTE, palette.SOFT_INK, slant) for line in wrap(box.note, NOTE_WIDTH)]
    if box.state in palette.STATE_INK:
        rows.append((box.state, NOTE, palette.STATE_INK[box.state], ' font-weight="600"'))
    return rows


def _size(box: Box) -> Size:
    rows = _texts(box)
    width = max(len(text) * size * CHAR for text, size, _, _ in rows)
    return Size(round(width + 2 * PADDING + 4), round(sum(size * LINE for _, size, _, _ in rows) + 1.4 * PADDING))


def _box(box: Box, area: Area) -> Iterator[str]:
    tone = palette.tone(box.state if box.state in ("learns", "frozen") else box.kind)
    line = palette.STATE_INK.get(box.state, tone.line)
    dashes = ' stroke-dasharray="4 3"' if box.state == "frozen" else ""
    classes = " ".join(("node", "box", box.kind, *box.state.split()))
    yield f'<g class="{escape(classes)}"><title>{escape(box.tip or box.title)}</title>'
    yield (
        f'<rect x="{area.x:.0f}" y="{area.y:.0f}" width="{area.width:.0f}" height="{area.height:.0f}" rx="8" '
        f'fill="{tone.fill}" stroke="{line}"{dashes}/>'
    )
    y = area.y + 0.7 * PADDING
    for text, size, colour, style in _texts(box):
        y += size * LINE
        yield (
            f'<text x="{area.x + area.width / 2:.0f}" y="{y - 0.35 * size:.1f}" text-anchor="middle" '
            f'font-size="{size}" fill="{colour}"{style}>{escape(text)}</text>'
        )
    yield "</g>"


def _frame(frame: Frame, layout: Layout) -> str:
    area = layout.frames[frame.path]
    title = " ".join(part for part in (frame.title, frame.badge, frame.state) if part)
    return (
        f'<g class="cluster frame {frame.kind}"><rect x="{area.x:.0f}" y="{area.y:.0f}" width="{area.width:.0f}" '
        f'height="{area.height:.0f}" rx="10" fill="{palette.FRAME_FILL}" stroke="{palette.FRAME_LINE}"/>'
        f'<text x="{area.x + 10:.0f}" y="{area.y + 18:.0f}" font-size="11" fill="{palette.SOFT_INK}">'
        f"{escape(title)}</text></g>"
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    """The heights at which an arrow leaves and arrives."""

    start: float
    end: float


def _ends(picture: Picture, layout: Layout) -> dict[Arrow, _Ends]:
    """Spread the arrows of a box over its sides, in the order of where they come from and go to."""
    forward = [arrow for arrow in picture.arrows if not arrow.is_feedback]
    leaving: dict[str, list[tuple[float, Arrow]]] = {}
    arriving: dict[str, list[tuple[float, Arrow]]] = {}
    for arrow in forward:
        stops = [layout.boxes[arrow.source], *layout.bends[arrow], layout.boxes[arrow.target]]
        leaving.setdefault(arrow.source, []).append((stops[1].middle, arrow))
        arriving.setdefault(arrow.target, []).append((stops[-2].middle, arrow))
    starts = {a: y for id, group in leaving.items() for a, y in _spread(group, layout.boxes[id], True)}
    ends = {a: y for id, group in arriving.items() for a, y in _spread(group, layout.boxes[id], False)}
    return {arrow: _Ends(starts[arrow], ends[arrow]) for arrow in forward}


def _spread(group: list[tuple[float, Arrow]], area: Area, bundled: bool) -> Iterator[tuple[Arrow, float]]:
    """Heights along one side; with `bundled`, arrows to one next point leave together."""
    group = sorted(group, key=lambda item: item[0])
    heights = sorted({y for y, _ in group})
    places = [heights.index(y) if bundled else position for position, (y, _) in enumerate(group)]
    step = min(10.0, 0.7 * area.height / (places[-1] + 1))
    for place, (_, arrow) in zip(places, group, strict=True):
        yield arrow, area.middle + (place - places[-1] / 2) * step


def _arrow(arrow: Arrow, layout: Layout, ends: _Ends | None) -> Iterator[str]:
    start, end = layout.boxes[arrow.source], layout.boxes[arrow.target]
    path, (x, y) = _route(start, layout.bends[arrow], end, ends) if ends else _loop(start, end)
    dashes = ' stroke-dasharray="2 3"' if arrow.is_condition else ' stroke-dasharray="5 4"' if arrow.is_feedback else ""
    width = 1.6 if arrow.count > 1 else 1.0
    yield f'<g class="edge"><title>{escape(arrow.full_type or arrow.caption)}</title>'
    yield (
        f'<path d="{path}" fill="none" stroke="{palette.EDGE}" stroke-width="{width}"{dashes} marker-end="url(#head)"/>'
    )
    if arrow.caption:
        yield (
            f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="9" fill="{palette.FAINT_INK}">'
            f"{escape(arrow.caption)}</text>"
        )
    yield "</g>"


def _route(start: Area, bends: list[Area], end: Area, ends: _Ends) -> tuple[str, tuple[float, float]]:
    """A curve between columns, straight through them; the caption stands on its last part."""
    x, y = start.x + start.width, ends.start
    path = f"M{x:.0f},{y:.1f}"
    for bend in bends:
        path += _curve(x, y, bend.x, bend.middle) + f" H{bend.x + bend.width:.0f}"
        x, y = bend.x + bend.width, bend.middle
    path += _curve(x, y, end.x, ends.end)
    return path, (end.x - 0.42 * (end.x - x), ends.end + 0.37 * (y - ends.end) - 3)


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    pull = (x2 - x1) / 2
    return f" C{x1 + pull:.0f},{y1:.1f} {x2 - pull:.0f},{y2:.1f} {x2:.0f},{y2:.1f}"


def _loop(start: Area, end: Area) -> tuple[str, tuple[float, float]]:
    """Back below both boxes, to the bottom of the earlier one."""
    x1, x2 = start.x + start.width / 2, end.x + end.width / 2
    y1, y2 = start.y + start.height, end.y + end.height
    low = max(y1, y2) + 20
    x1, x2 = (x1 + 14, x2 - 14) if x1 == x2 else (x1, x2)
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{low:.0f} {x2:.0f},{low:.0f} {x2:.0f},{y2:.0f}"
    return path, ((x1 + x2) / 2, low - 8)
