"""Graphs that come with networkx: `networkx:karate` and others, a row for each node or one for the whole graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.sources import Chunk, SourceError, locator, nearest

OPTIONS: Mapping[str, str] = {"rows": 'what is a row: "node" (when left out), or "graph": the only one'}
UNITS = ("node", "graph")


@dataclass(frozen=True, slots=True)
class Known:
    """A graph of networkx: its maker, how many nodes it has, and the attribute of nodes that is a class."""

    maker: str
    nodes: int
    label: str | None = None
    classes: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()


# Written down so that checking a recipe imports nothing; a test compares it with the graphs.
GRAPHS: Mapping[str, Known] = {
    "karate": Known("karate_club_graph", 34, "club", ("Mr. Hi", "Officer"), ("Mr. Hi", "Officer")),
    "davis": Known("davis_southern_women_graph", 32, "bipartite", ("woman", "event"), (0, 1)),
    "les_miserables": Known("les_miserables_graph", 77),
    "florentine_families": Known("florentine_families_graph", 15),
}


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """The built-in schema. Raises `SourceError` for a graph that is not known."""
    known, unit = _known(uri), _unit(uri, options)
    n, rows = known.nodes, 1 if unit == "graph" else known.nodes
    shape = (n, n) if unit == "graph" else (n,)
    columns = [ColumnSchema(name, "tensor", "float32", shape) for name in ("features", "bonds")]
    if unit == "graph":
        columns.append(ColumnSchema("mask", "tensor", "bool", (n,)))
        if known.label:
            columns.append(ColumnSchema("label", "tensor", "int32", (n,), is_target=True))
    else:
        columns.append(ColumnSchema("node", "tensor", "int32"))
        if known.label:
            columns.append(ColumnSchema("label", "label", "int32", (), len(known.classes), known.classes))
    return SourceSchema(tuple(columns), rows)


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """Name and package version: the graph comes with the package."""
    from importlib import metadata

    return f"networkx:{locator(uri)}:{metadata.version('networkx')}"


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Features are one-hot, bonds the rows of the adjacency, 1 for an edge of any weight; nodes in networkx's order."""
    import networkx as nx
    import numpy as np

    known = _known(uri)
    graph = getattr(nx, known.maker)()
    n = len(graph)
    bonds = (nx.to_numpy_array(graph) != 0).astype(np.float32)
    made = {"features": np.eye(n, dtype=np.float32), "bonds": bonds}
    labels = {}
    if known.label:
        numbers = {value: position for position, value in enumerate(known.values)}
        labels = {"label": np.array([numbers[data[known.label]] for _, data in graph.nodes(data=True)], np.int32)}
    if _unit(uri, options) == "graph":
        columns = {**made, "mask": np.ones(n, bool), **labels}
        yield {name: values[np.newaxis] for name, values in columns.items()}
    else:
        yield {**made, "node": np.arange(n, dtype=np.int32), **labels}


def _known(uri: str) -> Known:
    name = locator(uri)
    if name not in GRAPHS:
        hint = nearest(name, GRAPHS) or f"there are: {', '.join(GRAPHS)}"
        raise SourceError(f'no graph of networkx is called "{name}" here', uri=uri, hint=hint)
    return GRAPHS[name]


def _unit(uri: str, options: Mapping[str, Any]) -> str:
    unit = str(options.get("rows", "node"))
    if unit not in UNITS:
        raise SourceError(
            f'no unit is called "{unit}"', uri=uri, hint=nearest(unit, UNITS) or f"units: {', '.join(UNITS)}"
        )
    return unit
