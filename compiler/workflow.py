"""The graph of stages: what the compiler makes of a recipe and the runtime executes. Plain data, JSON both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

Json = Any


class Ref(Struct, frozen=True, cache_hash=True):
    """One output of a stage."""

    stage: str
    port: str


class Stage(Struct, frozen=True):
    """One node. `id` is the hash-consed identity within the workflow ("s12"), `name` what people call it.

    `spec` is JSON: what the stage does, with tensor programs under keys whose value has "subs". Inputs stand in
    `inputs` and are meant by their index. `outputs` maps each port to the text of its type. `group` is the path of
    functions, loops and sweeps it was made in (for drawing); `label` a short text of its settings; `line` its place.
    With `guards` it runs only if one of these computed values is true: a round of a loop with `while`.
    """

    id: str
    name: str
    kind: str
    spec: Mapping[str, Json]
    inputs: tuple[Ref, ...]
    outputs: Mapping[str, str]
    group: tuple[str, ...] = ()
    label: str = ""
    line: int = 0
    guards: tuple[Ref, ...] = ()


class Claim(Struct, frozen=True):
    """An `expect`: the stage (kind "claim") that judges it, and the text that people read."""

    stage: str
    line: int
    text: str
    because: str | None


class ModelBinding(Struct, frozen=True):
    """A model bound at the top level: its weights in path order, each from a port of a stage, or still fresh.

    `weights` holds (path, shape, source): source is {"input": [stage, port, index]} or {"fresh": {...}, "init": {...}}.
    `forward` makes the model's program when it is asked for: None where it has none of its own.
    """

    name: str
    weights: tuple[tuple[str, tuple[int, ...], Json], ...]
    forward: Callable[[], Json | None] = lambda: None


class Workflow(Struct):
    """A compiled recipe. `stages` is in topological order; `report` lists (name, output) in the order written.

    `ends` are the stages whose results the recipe is after; what no end needs is left out (all is wanted where there
    are none). `aliases` has the other names that recipes give to a stage, by its id.
    """

    recipe: str
    stages: dict[str, Stage] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    report: list[tuple[str, Ref]] = field(default_factory=list)
    metrics: dict[str, Ref] = field(default_factory=dict)
    models: list[ModelBinding] = field(default_factory=list)
    params: dict[str, Json] = field(default_factory=dict)
    seed: int = 0
    ends: tuple[str, ...] = ()
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def edges(self) -> Iterator[tuple[Ref, str]]:
        """(output, consuming stage) for every use of an output."""
        for stage in self.stages.values():
            for ref in (*stage.inputs, *stage.guards):
                yield ref, stage.id

    def consumers(self) -> dict[str, list[str]]:
        """The stages that use an output of each stage."""
        result: dict[str, list[str]] = {name: [] for name in self.stages}
        for ref, consumer in self.edges():
            result[ref.stage].append(consumer)
        return result
