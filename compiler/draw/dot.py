"""Pictures as Graphviz source, made to look like a figure in a paper."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from etude.compiler.draw import palette
from etude.compiler.draw.legend import legend_to_dot
from etude.compiler.draw.picture import Arrow, Box, Frame, Picture
from etude.compiler.draw.wrapping import SEPARATOR, wrap

TITLE_WIDTH, NOTE_WIDTH, CLAIM_WIDTH = 26, 30, 34
TEXT_KINDS = {"claim", "report"}  # boxes that hold sentences


def picture_to_dot(picture: Picture, *, legend: bool = False) -> str:
    """The `dot` program's input. Every node has the classes of its kind and state, for style sheets."""
    below = legend_to_dot(picture) if legend else ""
    meaning = [f"  graph [label=<{below}>, labelloc=b, labeljust=c]"] if below else []
    return "\n".join(["digraph etude {", *(f"  {line}" for line in _lines(picture)), *meaning, "}", ""])


def _lines(picture: Picture) -> Iterator[str]:
    wide = picture.is_wide
    yield (
        f'graph [rankdir={"LR" if wide else "TB"}, bgcolor="transparent", pad="0.25", '
        f'nodesep="{0.22 if wide else 0.3}", ranksep="{0.5 if wide else 0.42}", fontname="{palette.FONT}", '
        'splines=true, tooltip=" "]'
    )
    yield (
        'node [shape=box, style="filled,rounded", penwidth="1.1", margin="0.12,0.06", height="0.3", width="0.5", '
        f'fontname="{palette.FONT}", fontsize="11", fontcolor="{palette.INK}"]'
    )
    yield (
        f'edge [color="{palette.EDGE}", penwidth="1.0", arrowsize="0.55", arrowhead=vee, '
        f'fontname="{palette.FONT}", fontsize="8", fontcolor="{palette.FAINT_INK}"]'
    )
    yield from _frame_lines(picture, (), wide)
    ports = {box.id: box.ports for box in picture.boxes}
    for arrow in picture.arrows:
        leaving = ports[arrow.source]
        yield _arrow(arrow, leaving.index(arrow.label) if arrow.label in leaving else None, wide)


def _frame_lines(picture: Picture, path: tuple[str, ...], wide: bool) -> Iterator[str]:
    yield from (_box(box, wide) for box in picture.members(path))
    for frame in picture.children(path):
        yield f"subgraph {quote('cluster_' + '/'.join(frame.path))} {{"
        yield f"  {_frame_style(frame)}"
        yield from (f"  {line}" for line in _frame_lines(picture, frame.path, wide))
        yield "}"


def _frame_style(frame: Frame) -> str:
    fill, line = palette.FRAME_FILL, palette.FRAME_LINE
    if frame.kind in ("learns", "frozen"):
        tone = palette.tone(frame.kind)
        fill, line = tone.fill + "66", tone.line
    name, *more = frame.title.split(SEPARATOR)  # narrow, as arrows cross what stands in the middle
    label = _font(name, palette.SOFT_INK, 10)
    if frame.kind != "group":
        label += "&#160;" * (
            4 * max(len(name), len(frame.state) // 2) - 2 * len(name)
        )  # the middle is beside the title
    if frame.badge:
        label += "  " + _font(frame.badge, palette.TRAIN.line, 10, bold=True)
    more += [frame.state.rpartition(SEPARATOR)[2]] if frame.state else []  # the colour says who learns
    for text in more:
        label += '<BR ALIGN="LEFT"/>' + _font(text, palette.FAINT_INK, 8.5)
    label += '<BR ALIGN="LEFT"/>'
    style = "filled,rounded,dashed" if frame.kind == "frozen" else "filled,rounded"
    return (
        f'graph [label=<{label}>, labeljust=l, style="{style}", fillcolor="{fill}", color="{line}", '
        f'penwidth="1", margin="12", class="frame {frame.kind}", tooltip={quote(frame.title)}]'
    )


def _box(box: Box, wide: bool) -> str:
    tone = palette.tone(box.state if box.state in ("learns", "frozen") else box.kind)
    styles = "filled,rounded" + (",dashed" if box.state == "frozen" else "")
    attributes = {
        "label": f"<{_label(box, wide)}>",
        "fillcolor": quote(tone.fill),
        "color": quote(tone.line),
        "tooltip": quote(box.tip or box.title),
        "class": quote(" ".join(("box", box.kind, *box.state.split()))),
        "style": quote(styles),
    }
    if box.state in ("cached", "holds", "fails", "failed"):
        attributes["color"] = quote(palette.STATE_INK[box.state])
    if box.ports:
        attributes["margin"] = '"0.09,0.01"'
    if box.kind == "operation":
        attributes |= {"fontsize": '"9"', "margin": '"0.06,0.02"', "height": '"0.2"', "width": '"0.2"'}
    return f"{quote(box.id)} [{', '.join(f'{key}={value}' for key, value in attributes.items())}]"


def _label(box: Box, wide: bool) -> str:
    """An HTML-like table: the title with its badge, the note small and grey below, then state and ports."""
    rows = _rows(box)
    span = 1 if wide else max(len(box.ports), 1)
    top = ['<TR><TD HEIGHT="4" CELLPADDING="0"></TD></TR>'] if box.ports else []
    cells = top + [f'<TR><TD COLSPAN="{span}">{row}</TD></TR>' for row in rows]
    ports = [_port(number, port, wide) for number, port in enumerate(box.ports)]
    cells += [f"<TR>{port}</TR>" for port in ports] if wide else ([f"<TR>{''.join(ports)}</TR>"] if ports else [])
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{"".join(cells)}</TABLE>'


def _rows(box: Box) -> Iterator[str]:
    sentence = box.kind in TEXT_KINDS
    is_bold = box.kind not in ("claim", "operation")
    *lines, last = wrap(box.title, CLAIM_WIDTH if sentence else TITLE_WIDTH) or [" "]
    size = 9 if box.kind == "operation" else 11
    yield from (_font(line, palette.INK, size, bold=is_bold) for line in lines)
    badge = "  " + _font(box.badge, palette.TRAIN.line, 10, bold=True) if box.badge else ""
    yield _font(last, palette.INK, size, bold=is_bold) + badge
    for line in wrap(box.note, CLAIM_WIDTH + 4 if sentence else NOTE_WIDTH):
        yield _font(line, palette.SOFT_INK, 8.5, italic=box.kind == "claim")
    if box.state in palette.STATE_INK:
        yield _font(box.state, palette.STATE_INK[box.state], 8.5, bold=True)


def _port(number: int, port: str, wide: bool) -> str:
    return f'<TD PORT="p{number}" CELLPADDING="4"{" ALIGN=" + quote("RIGHT") if wide else ""}>' + (
        _font(port, palette.SOFT_INK, 8.5) + "</TD>"
    )


def _font(text: str, colour: str, size: float, *, bold: bool = False, italic: bool = False) -> str:
    inside = escape(text)
    inside = f"<B>{inside}</B>" if bold else f"<I>{inside}</I>" if italic else inside
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{inside}</FONT>'


def _arrow(arrow: Arrow, port: int | None, wide: bool) -> str:
    attributes = {}
    is_said = port is not None or arrow.is_condition
    parts = [] if is_said or not arrow.label else [_font(arrow.label, palette.SOFT_INK, 8)]
    parts += [_font(arrow.type, palette.FAINT_INK, 8)] if arrow.type and arrow.type not in palette.FLOWS else []
    if parts:
        attributes["label"] = f"< {' '.join(parts)} >"
    if arrow.caption:
        attributes["tooltip"] = attributes["labeltooltip"] = quote(arrow.full_type or arrow.caption)
    if arrow.type in palette.FLOWS:
        attributes["color"] = quote(palette.FLOWS[arrow.type])
    if arrow.is_feedback:
        attributes |= {"style": "dashed", "constraint": "false", "class": '"feedback"'}
    if arrow.is_condition:
        attributes["style"] = "dotted"
    if arrow.count > 1:
        attributes["penwidth"] = '"1.6"'
    inside = ", ".join(f"{key}={value}" for key, value in attributes.items())
    side = ("e" if wide else "s") if not arrow.is_feedback else "_"
    start = quote(arrow.source) + (f":p{port}:{side}" if port is not None else "")
    return f"{start} -> {quote(arrow.target)}" + (f" [{inside}]" if inside else "")


def quote(text: str) -> str:
    """A quoted string of the dot language; newlines stay line breaks."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
