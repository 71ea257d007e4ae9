"""Names that mean something only in traced functions: weights, columns of the row, the mode."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.ir import Value
from etude.backends.program.types import DType
from etude.compiler import faults
from etude.compiler.arithmetic import binary
from etude.compiler.broadcasting import as_one_shape, meeting_axis
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import REGISTRY, builtin
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location, Related
from etude.compiler.instances import add_weight, input_names, model_name, needed_inputs
from etude.compiler.measured import is_late, operated
from etude.compiler.models import call_model, chain
from etude.compiler.tracing import apply_operation, call_operation, cast, made_tensor, tensor
from etude.compiler.typing import is_function
from etude.compiler.values import (
    Builtin,
    Chain,
    Deferred,
    Fitted,
    Measured,
    Model,
    OperationValue,
    Record,
    Row,
    Setting,
    Tensor,
    describe,
)


@builtin
def weight(site: CallSite, shape: Any, *, init: Any = None) -> Tensor:
    """A new weight of the model being defined, drawn by `init` from the seed and the structure of the model.

    `init` is zeros, ones, constant_init(v), normal_init(std), uniform_init(low, high), or lecun_normal (the default),
    he_normal, xavier_uniform and so on.
    """
    if not isinstance(shape, list):
        raise faults.wrong_kind("'shape' of 'weight'", "a list of dimensions", describe(shape), site.at("shape"))
    if is_late(shape):
        raise faults.after_the_run("'shape' of 'weight'", site.at("shape"))
    return add_weight(site.session, tuple(shape), _initialiser(site, init), site.location)


def _initialiser(site: CallSite, init: Any) -> tuple[tuple[str, Any], ...]:
    if init is None:
        return (("kind", "lecun_normal"),)
    if isinstance(init, OperationValue) and init.name in {"zeros", "ones"}:
        return (("kind", init.name),)
    if isinstance(init, Setting) and init.kind == "initialiser":
        return tuple(init.fields.items())
    help = "write zeros, ones, lecun_normal, he_normal, xavier_uniform, normal_init(0.02), ..."
    raise faults.wrong_kind("'init' of 'weight'", "an initialiser", describe(init), site.at("init"), help)


class TrainingMode(Struct, frozen=True):
    """`training`: whether the model body is traced for training."""

    def resolve(self, evaluator: Any, location: Location) -> bool:
        frame = evaluator.session.frame
        if frame is None or frame.kind != "model":
            raise faults.only_in_traced_code("'training'", location, "the body of a model")
        frame.uses_mode = True
        return bool(frame.training)


REGISTRY["training"] = TrainingMode()


@builtin
def dropout(site: CallSite, x: Any, rate: Any) -> Any:
    """Zero a share of the elements while training, and scale up the rest (Srivastava et al., 2014)."""
    frame = site.session.frame
    if frame is None:
        raise faults.only_in_traced_code("'dropout'", site.location, "a model, or a function given to a stage")
    if is_late(rate):
        raise faults.after_the_run("'rate' of 'dropout'", site.at("rate"))
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise faults.wrong_kind("'rate' of 'dropout'", "a share known before the run", describe(rate), site.at("rate"))
    if not 0 <= rate < 1:
        raise faults.wrong_value("'rate' of 'dropout' is a share from 0 to below 1", site.at("rate"), "write 0.1")
    if rate == 0:
        return x  # nothing is drawn, and a model is the same in training as otherwise
    frame.uses_mode = True
    if not frame.training:
        return x
    return apply_operation(site.session, "dropout", [x], {"rate": float(rate)}, site.location)


@builtin
def slice_(site: CallSite, x: Any, start: Any, length: Any, axis: Any = 0) -> Any:
    """A part of a known length along an axis; it may start at a position that the program computes."""
    given = {"length": length, "axis": axis}
    return call_operation(site.session, "slice_at", [x, start], given, site.location)


@builtin
def running(site: CallSite, value: Any, rate: Any, *, init: Any = None) -> Tensor:
    """The value of the batch in training, and its slow mean otherwise: at each step it moves by `rate` towards it."""
    session, frame = site.session, site.session.frame
    if frame is None or frame.kind != "model":
        raise faults.only_in_traced_code("'running'", site.location, "the body of a model")
    if not isinstance(value, Tensor) or value.type.dtype != "float32":
        raise faults.wrong_kind("'value' of 'running'", "a tensor of floats", describe(value), site.at("value"))
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise faults.wrong_value("'rate' of 'running' is a share between 0 and 1", site.at("rate"), "write 0.1")
    frame.uses_mode = True
    start = (("kind", "zeros"),) if init is None else _initialiser(site, init)
    slow = add_weight(session, value.type.shape, start, site.location, running=True)
    if not frame.training:
        return slow
    slot = len(frame.builder.slots) - 1
    gap = binary(session, "-", apply_operation(session, "stop", [value], {}, site.location), slow, site.location)
    moved = binary(session, "+", slow, binary(session, "*", float(rate), gap, site.location), site.location)
    frame.builder.update(slot, moved.operand)
    if isinstance(value.operand, Value) and isinstance(slow.operand, Value):
        frame.running[value.operand.id] = slow.operand.id
    return value


@builtin
def chain_(site: CallSite, models: Any) -> Chain:
    """The models of a list, applied one after another. Further inputs go to each of them: `chain(blocks)(x, mask)`."""
    if not isinstance(models, list) or not all(isinstance(m, Model) or is_function(m) for m in models):
        raise faults.wrong_kind("'models' of 'chain'", "a list of models", describe(models), site.at("models"))
    return chain(site.session, models, site.location, is_list=True)


def _row(site: CallSite, value: Any) -> Row:
    """A row, or a record of some of its columns as they are: `({image}) => predict(m, {image})`."""
    known = site.session.frame and site.session.frame.row
    is_part = isinstance(value, Record) and isinstance(known, Row) and not isinstance(value, Row)
    if is_part and value and all(known.get(name) is cell for name, cell in value.items()):
        return Row(dict(value), {name: known.schema[name] for name in value})
    if not isinstance(value, Row):
        help = "give it the row as the lambda gets it, row => predict(m, row), or columns of it: {x}"
        raise faults.wrong_kind(f"'row' of '{site.name}'", "a row", describe(value), site.at("row"), help)
    return value


@builtin
def predict(site: CallSite, model: Any, row: Any) -> Any:
    """The model's output for a row: columns bind by the names of its inputs, or the only non-target column does."""
    columns = _row(site, row)
    if isinstance(model, Fitted):
        return _asked(site, model, columns)
    if not isinstance(model, Model):
        raise faults.wrong_kind("'model' of 'predict'", "a model", describe(model), site.at("model"))
    names, needed = input_names(model), needed_inputs(model)
    if all(name in columns for name in names[:needed]):
        arguments = [columns[name] for name in takewhile(columns.__contains__, names)]
    elif needed == 1 and len(columns.non_targets) == 1:
        arguments = [columns[columns.non_targets[0]]]
    else:
        raise faults.unbound_columns(f"'{model_name(model)}'", names, list(columns), site.location)
    return call_model(site.session, model, arguments, site.location, site.evaluator)


def _asked(site: CallSite, estimator: Fitted, row: Row) -> Tensor:
    """What an estimator that is no model says of a row: a column that the host makes before the function runs."""
    frame = site.session.frame
    if frame is None or frame.hosted is None:
        what = f"a fitted {estimator.name}, which is no model,"
        raise faults.only_in_traced_code(what, site.at("model"), "the functions given to map and measure")
    own = [estimator.input] if estimator.input in row.schema else row.non_targets
    if len(own) != 1 or (column := row.schema[own[0]]).shape != estimator.schema.shape or column.kind == "text":
        raise faults.unbound_columns(f"a fitted {estimator.name}", [estimator.input], list(row), site.location)
    asked = replace(estimator, input=own[0])
    name = next((n for n, e in frame.hosted.items() if (e.ref, e.input) == (asked.ref, asked.input)), None)
    if name is None:
        name = f"predicted@{len(frame.hosted)}"
        frame.hosted[name] = asked
        frame.asked[name] = tensor(frame, frame.builder.input(name, estimator.output), site.location)
    found: Tensor = frame.asked[name]
    return found


@builtin
def shaped_like(site: CallSite, prediction: Any, target: Any) -> Any:
    """A prediction in the shape of its target: one number for each row may have an axis of its own."""
    if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
        found = next(value for value in (prediction, target) if not isinstance(value, Tensor))
        raise faults.wrong_kind("'shaped_like'", "two tensors", describe(found), site.location)
    if prediction.type.size != target.type.size:
        text = f"the model gives {prediction.type}, but the target is {target.type}, plain numbers"
        places = [Related(value.location, f"this is {value.type}") for value in (prediction, target)]
        help = 'give as many numbers; a class is made a label by load(..., label = "y") or as_label(y, classes = 3)'
        raise faults.fault("E302", text, site.location, "the shapes do not fit", related=places, help=help)
    shape = list(target.type.shape)
    return call_operation(site.session, "reshape", [prediction], {"shape": shape}, site.location)


@builtin
def paired(site: CallSite, prediction: Any, target: Any) -> Any:
    """A prediction as it is; refused where its target is of another shape, but that one of them may lack first axes."""
    if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
        return prediction
    first, second = prediction.type.shape, target.type.shape
    long, short = (first, second) if len(first) >= len(second) else (second, first)
    if long[len(long) - len(short) :] == short:
        return prediction
    text = f"the prediction is {prediction.type}, but the target is {target.type}"
    help = "a loss of this kind compares number by number: give both one shape"
    if meeting_axis(long, short) is not None:
        text += ": every row of the batch would be compared with every other one"
        help = f"take the axis of length 1 away: {as_one_shape(long, short)}"
    places = [Related(value.location, f"this is {value.type}") for value in (prediction, target)]
    raise faults.fault("E302", text, site.location, "the shapes do not fit", related=places, help=help)


@builtin
def target(site: CallSite, row: Any) -> Any:
    """The only target column of a row."""
    columns = _row(site, row)
    if len(columns.targets) != 1:
        found = f"its columns are {', '.join(columns)}"
        text = f"the row has {len(columns.targets)} target columns, but one is needed ({found})"
        raise faults.wrong_pattern(text, site.location, 'a target is a label, or declared: load(..., target = "y")')
    return columns[columns.targets[0]]


@builtin
def input_(site: CallSite, row: Any) -> Any:
    """The only column of a row that is no target."""
    columns = _row(site, row)
    if len(columns.non_targets) != 1:
        found = f"the row has {len(columns.non_targets)} input columns ({', '.join(columns.non_targets)})"
        text = f"{found}, but one is needed" if columns.non_targets else "the row has no input column"
        raise faults.wrong_pattern(text, site.location, "take the columns by name in a pattern")
    return columns[columns.non_targets[0]]


@builtin
def as_label(site: CallSite, x: Any, *, classes: Any) -> Tensor:
    """An int tensor as class numbers below `classes`."""
    if not isinstance(x, Tensor) or x.type.dtype != "int32":
        raise faults.wrong_kind("'as_label'", "an int tensor", describe(x), site.at("x"))
    count = plain_int(site, "classes", classes)
    if count < 1:
        raise faults.wrong_value(f"'classes' of 'as_label' must be at least 1, got {count}", site.at("classes"))
    return replace(x, classes=count, made_at=site.session.place(site.location))


@builtin
def has_classes(site: CallSite, row: Any) -> bool:
    """Whether the only target of a row is a label (and not a number)."""
    columns = _row(site, row)
    return len(columns.targets) == 1 and columns.schema[columns.targets[0]].kind == "label"


def _cast(name: str, dtype: DType) -> None:
    def convert(site: CallSite, x: Any) -> Any:
        if isinstance(x, Tensor):
            return cast(site.session, x, dtype, site.location)
        if isinstance(x, bool | int | float):
            return {"int": int, "float": float, "bool": bool}[name](x)
        if isinstance(x, Measured) and site.session.frame is None:
            return operated(site.session, [x], {}, lambda given, _: convert(site, given[0]), site.location)
        if isinstance(x, Deferred) and name != "bool":
            return Deferred([name, x.expression], dtype=dtype)
        if isinstance(x, Deferred | Measured):
            return convert(site, made_tensor(site.session, x, site.location))
        raise faults.wrong_kind(f"'{name}'", "a tensor or a number", describe(x), site.at("x"))

    REGISTRY[name] = Builtin(name, convert, (("x", False),))


CASTS: dict[str, DType] = {"int": "int32", "float": "float32", "bool": "bool"}
for _name, _dtype in CASTS.items():
    _cast(_name, _dtype)
