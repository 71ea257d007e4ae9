"""Row programs without weights as numpy source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.emission import Emitted
from etude.backends.emission.dialect import Dialect
from etude.backends.emission.programs import row_programs, title
from etude.backends.emission.stage import StageWriter, join_module, record
from etude.backends.emission.templates import fill
from etude.backends.program.serialize import program_from_json

ROWS = '''
def rows(batch: dict[str, np.ndarray], rows: np.ndarray, key: int) -> dict[str, np.ndarray]:
    """Return the outputs for each row of a batch."""
    <body>
    return <outputs>
'''
COMPUTE = '''
def compute(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the program makes of its inputs."""
    <body>
    return <result>
'''
DIALECT = Dialect(framework="numpy", array="np.ndarray", key="int")


def emit_rows(spec: Mapping[str, Any]) -> Emitted:
    """The module of a stage that runs a row program."""
    writer = StageWriter(DIALECT, row_programs(spec))
    assert not writer.models.roots, "a program with weights does not run on numpy"
    outputs = writer.outputs("rows")
    blocks = [*writer.definitions(), fill(ROWS, body=outputs.lines, outputs=record(outputs.values))]
    return Emitted(join_module(title(spec, "numpy"), blocks, DIALECT), [])


def emit_program(program: Any) -> Emitted:
    """The module of a program without weights that is run once, on whole tensors."""
    writer = StageWriter(DIALECT, {"compute": program_from_json(program)})
    assert not writer.models.roots, "a program with weights does not run on numpy"
    outputs = writer.outputs("compute")
    (result,) = outputs.values.values()
    blocks = [*writer.definitions(), fill(COMPUTE, body=outputs.lines, result=result)]
    return Emitted(join_module("Compute a tensor on numpy.", blocks, DIALECT), [])
