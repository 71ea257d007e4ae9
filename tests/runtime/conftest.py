"""Small workflows, put together by hand, that run on the host in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from etude.backends.program.builder import Builder
from etude.backends.program.ir import Operand, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.compiler.workflow import Claim, Ref, Stage, Workflow
from etude.runtime.events import Event
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

Json = Any
FLOAT = TensorType("float32")
INT = TensorType("int32")

Body = Callable[..., Sequence[tuple[str, Operand]]]


def row_program(columns: Mapping[str, TensorType], body: Body) -> Json:
    """The JSON of a row program whose `body` is given a builder and its inputs by name."""
    build = Builder("row")
    inputs = {name: build.input(name, type) for name, type in columns.items()}
    return program_to_json(StageProgram(build.build(body(build, **inputs)), ()))


class Sketch:
    """A workflow in the making; `add` gives a function from a port to the output of the new stage."""

    def __init__(self) -> None:
        self.workflow = Workflow("sketch.etude")
        self.guards: tuple[Ref, ...] = ()

    def add(self, kind: str, spec: Json, *inputs: Ref, name: str | None = None) -> Callable[[str], Ref]:
        id = f"s{len(self.workflow.stages)}"
        stage = Stage(id, name or f"{kind}-{id}", kind, spec, inputs, {}, guards=self.guards)
        self.workflow.stages[id] = stage
        return lambda port: Ref(id, port)

    @contextmanager
    def behind(self, guard: Ref) -> Iterator[None]:
        """Inside, stages run only if the value at `guard` is true."""
        outer, self.guards = self.guards, (guard,)
        yield
        self.guards = outer

    def compute(self, expression: Json, *inputs: Ref, name: str | None = None) -> Ref:
        return self.add("compute", {"expression": expression}, *inputs, name=name)("value")

    def load(self, uri: str, name: str | None = None, **options: Json) -> Ref:
        return self.add("load", {"uri": uri, "options": options}, name=name)("data")

    def split(self, data: Ref, shares: Mapping[str, float], **settings: Json) -> Callable[[str], Ref]:
        spec = {"parts": [list(item) for item in shares.items()], "stratify": None, "group": None, "seed": 0}
        return self.add("split", {**spec, **settings}, data)

    def measure(self, data: Ref, column: str, type: TensorType = FLOAT, name: str | None = None) -> Ref:
        """The mean of a column."""
        program = row_program({column: type}, lambda build, **inputs: [("", inputs[column])])
        spec = {"program": program, "slots": [], "seed": 0, "identity": "ab" * 16}
        return self.add("measure", spec, data, name=name)("value")

    def doubled(self, data: Ref, column: str, seed: int = 0, name: str | None = None, result: str = "twice") -> Ref:
        """A dataset with twice a column, under the name `result`, beside or in the place of it."""

        def body(build: Builder, **inputs: Operand) -> Sequence[tuple[str, Operand]]:
            (total,) = build.apply("add", [inputs[column], inputs[column]])
            return [(result, total)]

        spec = {
            "program": row_program({column: FLOAT}, body),
            "slots": [],
            "keep": [] if result == column else [column],
            "columns": [[result, ["float32", []], {"kind": "tensor"}]],
            "seed": seed,
            "identity": "cd" * 16,
        }
        return self.add("map", spec, data, name=name)("data")

    def claim(self, expression: Json, *inputs: Ref, shown: Json = ()) -> Ref:
        verdict = self.add("claim", {"expression": expression, "shown": list(shown)}, *inputs)("verdict")
        self.workflow.claims.append(Claim(verdict.stage, 1, "a claim", None))
        return verdict


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A CSV file of ten rows: x = 0, 0.5, .. 4.5 and two classes in turn."""
    path = tmp_path / "numbers.csv"
    path.write_text("x,label\n" + "".join(f"{i / 2},{i % 2}\n" for i in range(10)))
    return path


class Runs:
    """Runs sketches on one store and keeps the events of the last run."""

    def __init__(self, store: Store, base: Path) -> None:
        self.store, self.base = store, base
        self.events: list[Event] = []

    def __call__(self, sketch: Sketch, **settings: Any) -> RunResult:
        self.events = []
        return run(
            sketch.workflow,
            store=self.store,
            base=self.base,
            on_event=self.events.append,
            **{"backend": "torch", "jobs": 1, **settings},
        )

    def of_kind(self, kind: str) -> list[str | None]:
        """The names of the stages that had an event of a kind, in order."""
        return [event.name for event in self.events if event.kind == kind]


@pytest.fixture
def runs(store: Store, tmp_path: Path) -> Runs:
    return Runs(store, tmp_path)
