"""`plot`: columns of training histories as series of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.runtime.stages import Job, Result

Json = Any
History = Sequence[Mapping[str, Json]]


def execute(job: Job) -> Result:
    """Take the points of each history; labels, and names of columns that the recipe chose, stay in the recipe."""
    spec = job.spec
    histories = [job.value(series["input"]) for series in spec["series"]]
    if "shown" in spec:
        return Result({"figure": job.store.objects.put_json({"series": placed_series(spec, histories)})})
    names = spec.get("y") or losses(histories)
    x = spec.get("x", "epoch")
    series = [
        {"history": number, "name": name, **points(history, x, name)}
        for number, history in enumerate(histories)
        for name in names
    ]
    return Result({"figure": job.store.objects.put_json({"series": series, "x": x, "y": names})})


def placed_series(spec: Mapping[str, Any], histories: Sequence[History]) -> list[Json]:
    """The series of histories whose columns the store calls otherwise: `name` is the place of one that was asked for,
    or what the store calls it."""
    found = losses(histories)
    return [
        {"history": number, "name": name, **points(history, about["x"], column)}
        for number, (about, history) in enumerate(zip(spec["series"], histories, strict=True))
        for name, column in (zip(found, found, strict=True) if about["y"] is None else enumerate(about["y"]))
    ]


def presented(spec: Mapping[str, Any], value: Json) -> Json:
    """The figure with the recipe's labels on its series, and its names of columns."""
    asked = spec.get("shown", value)
    series = [{**each, "name": _column(spec, each)} for each in value["series"]]
    names = asked["y"] or [*dict.fromkeys(each["name"] for each in series)]
    labels = [spec["series"][each["history"]]["label"] for each in series]
    labelled = [
        {"label": _label(label, each["name"] if len(names) > 1 else ""), **each}
        for label, each in zip(labels, series, strict=True)
    ]
    return {**value, "series": labelled, "x": asked["x"], "y": names}


def _column(spec: Mapping[str, Any], each: Json) -> str:
    """What the recipe calls the column of a stored series."""
    if "shown" not in spec:
        return str(each["name"])
    if spec["shown"]["y"] is not None:
        return str(spec["shown"]["y"][each["name"]])
    return str(spec["series"][each["history"]]["names"].get(each["name"], each["name"]))


def points(history: History, x: str | None, name: str | None) -> dict[str, list[Json]]:
    """The rows of a history that have both columns; none where it has no such column."""
    if x is None or name is None:
        return {"x": [], "y": []}
    rows = [row for row in history if row.get(x) is not None and row.get(name) is not None]
    return {"x": [row[x] for row in rows], "y": [row[name] for row in rows]}


def losses(histories: Sequence[History]) -> list[str]:
    """The loss columns of all histories, in order of appearance: what is drawn when nothing is asked for."""
    names = dict.fromkeys(name for history in histories for row in history for name in row)
    return [name for name in names if name.split(".")[-1] == "loss"]


def _label(label: str, name: str) -> str:
    return " ".join(part for part in (label, name) if part)
