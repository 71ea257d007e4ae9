"""Where the settings of stages come from: a line of the recipe, a function's default, or the library's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.compiler import wording
from etude.compiler.builtins.table import REGISTRY
from etude.compiler.diagnostics import Location
from etude.compiler.values import Builtin
from etude.compiler.watch import Frame, Watch
from etude.compiler.workflow import Stage
from etude.grammar import nodes
from etude.grammar.faults import SyntaxFault
from etude.grammar.parser import parse

Json = Any
SKIPPED = {"weights", "update", "uri", "computed", "expression"}
SEED = "the seed around it: --seed, or that of runs(...)"
# What a setting of a spec is called where it is an argument.
ARGUMENTS = {"valid.every": "valid_every", "share": "size", "count": "size"}


def resolved_settings(stage: Stage, watch: Watch, given: Mapping[str, str]) -> list[tuple[str, Json, str]]:
    """Every setting of a stage: its path, its value, and where that comes from. `given` are the params set by hand."""
    site, frames = watch.stages[stage.id]
    found = []
    settings = {**wording.settings_of(stage), **({"seed": stage.spec["seed"]} if "seed" in stage.spec else {})}
    if settings.get("score"):
        settings["score"] = stage.spec["valid"]["score_names"][0]  # the spec has the name that the store has
    for path, value in settings.items():
        is_plain = not {path, path.rpartition(".")[2]} & SKIPPED and not isinstance(value, Mapping | list)
        if is_plain or path in ("budget", "valid.every"):
            found.append((path, value, _origin(path, site, frames, given)))
    return found


def _origin(path: str, site: Any, frames: tuple[Frame, ...], given: Mapping[str, str]) -> str:
    head, _, rest = path.partition(".")
    argument = head if head in site.spans and path == head else ARGUMENTS.get(path, head)
    default = f"default of {site.name}"
    origin = _followed(site.at(argument), frames, rest, given) if argument in site.spans else None
    return origin or (SEED if head == "seed" else default)


def _followed(place: Location, frames: tuple[Frame, ...], rest: str, given: Mapping[str, str]) -> str | None:
    """The origin of what is written at a place; None where it says that the callee's default is to be taken."""
    text = _text(place)
    frame = _around(place, frames)
    parameter = None if frame is None else _parameter(frame, text)
    if frame is not None and parameter is not None:
        if text in frame.places:
            return _followed(frame.places[text], frames[: frames.index(frame)], rest, given)
        default = parameter.default
        is_none = isinstance(default, nodes.Name) and default.name == "none"
        return None if default is None or is_none else f"default of {frame.closure.name}"
    if text == "none":
        return None
    if place.source.name.startswith("std."):
        return f"chosen by {frame.closure.name}" if frame else f"library {place.source.name}"
    inner = _default_inside(text, rest)
    if inner is not None:
        return inner
    if text in given:
        return f"--set {text}"
    line = place.source.position(place.span.start)[0]
    return f"{place.source.name}:{line}" + (f" ({text})" if text.isidentifier() else "")


def _text(place: Location) -> str:
    return place.source.text[place.span.start : place.span.end]


def _parameter(frame: Frame, name: str) -> nodes.Parameter | None:
    found = (p for p in frame.closure.parameters if isinstance(p, nodes.Parameter) and p.name == name)
    return next(found, None)


def _around(place: Location, frames: tuple[Frame, ...]) -> Frame | None:
    """The innermost function that a place stands in."""
    for frame in reversed(frames):
        span = frame.closure.node.span
        if frame.closure.scope.source is place.source and span.start <= place.span.start < span.end:
            return frame
    return None


def _default_inside(text: str, setting: str) -> str | None:
    """`default of adamw` for a setting that the call `adamw(...)` does not give."""
    if not setting or setting == "name":
        return None
    try:
        (statement,) = parse(f"x = {text}").statements
    except (SyntaxFault, ValueError):
        return None
    call = getattr(statement, "value", None)
    if not isinstance(call, nodes.Call) or not isinstance(call.callee, nodes.Name):
        return None
    known = REGISTRY.get(call.callee.name)
    names = [name for name, _ in known.parameters] if isinstance(known, Builtin) else []
    arguments = (*call.arguments, *(call.block or ()))
    written = {argument.name for argument in arguments if argument.name}
    written |= set(names[: sum(argument.name is None for argument in arguments)])
    is_given = setting in written or any(argument.is_spread for argument in arguments) or setting not in names
    return None if is_given else f"default of {call.callee.name}"
