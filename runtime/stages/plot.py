"""`plot`: columns of training histories as series of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.runtime.stages import Job, Result

Json = Any
History = Sequence[Mapping[str, Json]]


def execute(job: Job) -> Result:
    """Take the points of each history; the labels stay in the recipe."""
    spec = job.spec
    histories = [job.value(series["input"]) for series in spec["series"]]
    names = spec.get("y") or losses(histories)
    x = spec.get("x", "epoch")
    series = [
        {"history": number, "name": name, **points(history, x, name)}
        for number, history in enumerate(histories)
        for name in names
    ]
    return Result({"figure": job.store.objects.put_json({"series": series, "x": x, "y": names})})


def presented(spec: Mapping[str, Any], value: Json) -> Json:
    """The figure with the recipe's labels on its series."""
    many = len(value["y"]) > 1
    series = [
        {"label": _label(spec["series"][each["history"]]["label"], each["name"] if many else ""), **each}
        for each in value["series"]
    ]
    return {**value, "series": series}


def points(history: History, x: str, name: str) -> dict[str, list[Json]]:
    """The rows of a history that have both columns."""
    rows = [row for row in history if row.get(x) is not None and row.get(name) is not None]
    return {"x": [row[x] for row in rows], "y": [row[name] for row in rows]}


def losses(histories: Sequence[History]) -> list[str]:
    """The loss columns of all histories, in order of appearance: what is drawn when nothing is asked for."""
    names = dict.fromkeys(name for history in histories for row in history for name in row)
    return [name for name in names if name.split(".")[-1] == "loss"]


def _label(label: str, name: str) -> str:
    return " ".join(part for part in (label, name) if part)
