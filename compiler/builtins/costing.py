"""What models cost: `size` and `flops` are counted before the run, `latency` is measured."""

from __future__ import annotations

import math
from typing import Any

from etude.backends.program.dims import evaluate
from etude.backends.program.ir import StageProgram
from etude.compiler import faults
from etude.compiler.builtins.data import add_stage, dataset, row_stage
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.builtins.traced import predict
from etude.compiler.calls import CallSite
from etude.compiler.costs import program_cost
from etude.compiler.instances import model_name
from etude.compiler.lambdas import TracedFunction, trace
from etude.compiler.models import traced_model
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.values import Builtin, Bytes, Deferred, Model, Record, describe
from etude.compiler.weight_paths import named_weights

BYTES_EACH = 4  # weights are float32


@builtin
def size(site: CallSite, model: Any, *, on: Any = None) -> Record:
    """How many numbers a model learns, and how many bytes its weights take, batch statistics included."""
    given = _model(site, model)
    if on is not None:
        _traced(site, given, on)
    found = {origin: slot for _, slot, origin in named_weights(site.session, given)}
    if not found:
        text = f"the weights of '{model_name(given)}' are known once it is called: it has not been, up to here"
        raise faults.wrong_value(text, site.at("model"), "say on which data: size(m, on = digits)")
    counts = [(math.prod(evaluate(dim, 1) for dim in slot.type.shape), slot.running) for slot in found.values()]
    learned = sum(count for count, is_running in counts if not is_running)
    return Record({"parameters": learned, "bytes": Bytes(BYTES_EACH * sum(count for count, _ in counts))})


@builtin
def flops(site: CallSite, model: Any, on: Any = None) -> int:
    """The floating-point operations of a model on one row, by its shapes."""
    given = _model(site, model)
    if on is not None:
        traced = _traced(site, given, on)
        modules = SlotTable(Inputs(), site.session.seed).modules(traced.sub, traced.origins)
        return program_cost(StageProgram(traced.sub, modules), 1).flops
    known = traced_model(site.session, given)
    if known is None:
        text = f"the shapes in '{model_name(given)}' are known once it is called: it has not been, up to here"
        raise faults.wrong_value(text, site.at("model"), "say on which data: flops(m, on = digits)")
    (module,) = SlotTable(Inputs(), site.session.seed).modules(_calling(known.sub), (known.origins,))
    return program_cost(StageProgram(known.sub, module.children), 1).flops


def _calling(sub: Any) -> Any:
    """A program with `sub` as its only child: what a slot table takes."""
    from etude.backends.program.builder import Builder
    from etude.backends.program.ir import Child

    return Builder("cost", children=[Child(sub.name, sub)]).build([])


@builtin
def latency(site: CallSite, model: Any, on: Any, *, batch: Any = 1) -> Deferred:
    """The seconds that a model takes for a batch of rows: the median of several calls, on the machine of the run."""
    given = _model(site, model)
    d = dataset(site, on, "on")
    rows = plain_int(site, "batch", batch)
    if rows < 1:
        raise faults.wrong_value(f"'batch' must be at least 1, got {rows}", site.at("batch"))
    traced = _traced(site, given, on)
    spec, inputs = row_stage(site, d, traced)
    id = add_stage(site, "latency", {**spec, "batch": rows}, inputs.refs, {"value": "Metric"}, f"{rows} at once")
    return Deferred(["ref", id, "value"], unit="seconds")


def _model(site: CallSite, value: Any) -> Model:
    if not isinstance(value, Model):
        raise faults.wrong_kind(f"'model' of '{site.name}'", "a model", describe(value), site.at("model"))
    return value


def _traced(site: CallSite, model: Model, on: Any) -> TracedFunction:
    """The program of a model on a row: columns bind as they do in `predict`."""
    d = dataset(site, on, "on")
    function = Builtin("predict", lambda inner, row: predict(inner, model, row), (("row", False),))
    return trace(site, "predict", "row", function, d.columns)
