"""`fit`: estimators of scikit-learn on a dataset. Linear ones are ordinary models afterwards."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.dims import b
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.builtins.data import add_stage, column_name, dataset
from etude.compiler.builtins.estimators import TRAITS
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.lambdas import column_type
from etude.compiler.models import trace_model
from etude.compiler.schema import ColumnSchema
from etude.compiler.scopes import Lazy
from etude.compiler.values import Dataset, Fitted, Setting, TrainedOrigin, Training, describe
from etude.compiler.workflow import Ref
from etude.compiler.wrappers import apply_training


class Task(Struct, frozen=True):
    """What an estimator is fitted to: the column that it sees, and what it is to say of it."""

    input: ColumnSchema
    target: ColumnSchema | None

    @property
    def classes(self) -> int | None:
        return None if self.target is None else self.target.classes


@builtin
def fit(site: CallSite, estimator: Any, on: Any, *, input: Any = None, target: Any = None, seed: Any = None) -> Any:
    """An estimator fitted to a dataset: a model if it is linear, else what `predict` takes in `map` and `measure`."""
    if not isinstance(estimator, Setting) or estimator.kind != "estimator":
        help = "write ridge(), logistic_regression(), k_means(8), pca(2), random_forest(), ..."
        raise faults.wrong_kind("'estimator' of 'fit'", "an estimator", describe(estimator), site.at("estimator"), help)
    d, name = dataset(site, on, "on"), estimator.fields["name"]
    task = _task(site, name, d, input, target)
    _check_size(site, estimator, task)
    own = site.session.seed if seed is None else plain_int(site, "seed", seed)
    spec: dict[str, Any] = {
        "estimator": dict(estimator.fields),
        "input": task.input.name,
        "target": task.target and task.target.name,
        "classes": task.classes,
        "seed": own if TRAITS[name].draws else None,
    }
    made = _linear(estimator, task)
    if made is None:
        id = add_stage(site, "fit", spec, [d.ref], {"estimator": "Estimator"}, _label(site, name, d))
        return Fitted(Ref(id, "estimator"), name, task.input.name, task.input, _output(estimator, task))
    return _model(site, spec, d, task, made)


def _task(site: CallSite, name: str, d: Dataset, input: Any, target: Any) -> Task:
    columns = list(d.columns.values())
    chosen = column_name(site, d, target, "target")
    targets = [c for c in columns if (c.kind == "label" or c.is_target if chosen is None else c.name == chosen)]
    wanted = column_name(site, d, input, "input")
    inputs = [c for c in columns if (c not in targets and c.kind == "tensor" if wanted is None else c.name == wanted)]
    listed = ", ".join(d.columns)
    if len(inputs) != 1:
        text = f"'fit' needs one input column; the columns are {listed}"
        raise faults.wrong_value(text, site.at("on"), 'say which: input = "image", or put them into one with map')
    if inputs[0].kind == "text":
        raise faults.wrong_kind("'input' of 'fit'", "a column of numbers", "text", site.at("input"))
    if TRAITS[name].target == "none":
        return Task(inputs[0], None)
    if len(targets) != 1:
        text = f"'{name}' needs one target column; the columns are {listed}"
        raise faults.wrong_value(text, site.at("on"), 'say which: target = "label"')
    _check_target(site, name, targets[0])
    return Task(inputs[0], targets[0])


def _check_target(site: CallSite, name: str, target: ColumnSchema) -> None:
    place, is_label = site.at("target" if "target" in site.spans else "estimator"), target.kind == "label"
    if TRAITS[name].target == "label" and not is_label:
        help = "as_label(e, classes = k) makes one of an int"
        raise faults.wrong_kind(f"the target of '{name}'", "a label", f"{target.name}: {target}", place, help)
    if target.kind == "text":
        help = 'relabel(d, "column", classes = [...]) makes it a label'
        raise faults.wrong_kind(f"the target of '{name}'", "a label or numbers", "text", place, help)
    if TRAITS[name].target == "label or number" and not is_label and target.shape:
        raise faults.wrong_kind(f"the target of '{name}'", "one number", f"{target.name}: {target}", place)


def _check_size(site: CallSite, estimator: Setting, task: Task) -> None:
    """`components` are directions: there are no more than numbers in a row, and of LDA fewer than classes."""
    count = estimator.fields.get("components")
    if estimator.fields["name"] not in ("pca", "lda") or count is None:
        return
    size = _size(task.input)
    most = min(size, task.classes - 1) if task.classes else size
    if count > most:
        reason = f"a row has {size} numbers" if most == size else f"there are {task.classes} classes"
        text = f"'components' of '{estimator.fields['name']}' is {count}, but {reason}"
        raise faults.wrong_value(text, site.at("estimator"), f"at most {most}")


def _size(column: ColumnSchema) -> int:
    size = 1
    for dim in column.shape:
        size *= dim
    return size


def _linear(estimator: Setting, task: Task) -> tuple[str, dict[str, Any]] | None:
    """The model of `std.fitted` that a fitted estimator is, with its settings; None for one that is no model."""
    fields = estimator.fields
    match fields["name"]:
        case "pca":
            return "projection", {"components": fields["components"]}
        case "lda" if fields["components"] is not None:
            return "projection", {"components": fields["components"]}
        case "standard_scaler":
            return "scaling", {}
        case "k_means":
            return "distances", {"centers": fields["clusters"]}
        case "prototypes":
            return "distances", {"centers": task.classes, "sign": -1.0}
        case "ridge" | "linear_regression" | "logistic_regression" | "lda":
            return "linear_scores", _outputs(task)
        case "svm" if fields["kernel"] == "linear":
            return "linear_scores", _outputs(task)
    return None


def _outputs(task: Task) -> dict[str, Any]:
    assert task.target is not None
    if task.classes is not None:
        return {"outputs": task.classes}
    return {"outputs": _size(task.target), "is_number": task.target.shape == ()}


def _output(estimator: Setting, task: Task) -> TensorType:
    """What an estimator that is no model says of a row: a number for each class or cloud, the target's numbers, or
    those of the nearest rows."""
    if estimator.fields["name"] == "gaussian_mixture":
        return TensorType("float32", (estimator.fields["components"],))
    assert task.target is not None
    if estimator.fields["name"] == "nearest":
        return TensorType("float32", (estimator.fields["k"], *task.target.shape))
    return TensorType("float32", task.target.shape if task.classes is None else (task.classes,))


def _model(site: CallSite, spec: dict[str, Any], d: Dataset, task: Task, made: tuple[str, dict[str, Any]]) -> Any:
    session, name = site.session, spec["estimator"]["name"]
    definition = session.library.module("std.fitted")[made[0]]
    definition = definition.force() if isinstance(definition, Lazy) else definition
    model = replace(site.evaluator.call(definition, [], made[1], site.location), name=name)
    type = column_type(task.input, "row")
    batch = TensorType("float32", (b, *type.shape))
    traced = trace_model(session, model, [batch], False, site.location, site.evaluator)
    id = add_stage(site, "fit", {**spec, "model": made[0]}, [d.ref], {"0": "Model"}, _label(site, name, d))
    origins = enumerate(traced.origins.flat)
    updated = {origin: TrainedOrigin(Ref(id, "0"), index, origin.fresh) for index, origin in origins}
    return apply_training(model, Training(id, updated, None, (task.input.name,)))


def _label(site: CallSite, name: str, d: Dataset) -> str:
    return name if d.role == "train" else f"{name} · {d.role}"
