"""`value.name`: fields of records, parts and settings of models and what they remember, tensors of a tree."""

from __future__ import annotations

from functools import partial
from typing import Any

from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.faults import Poisoned
from etude.compiler.globs import nearest_paths
from etude.compiler.measured import as_measured, shape_of
from etude.compiler.parts import direct_parts, part_named, setting_of
from etude.compiler.scopes import Lazy
from etude.compiler.session import Session
from etude.compiler.tracing import made_tensor
from etude.compiler.values import (
    Builtin,
    Chain,
    Dataset,
    Deferred,
    Made,
    Measured,
    Model,
    Output,
    Poison,
    Record,
    Tensor,
    Tokenizer,
    Trained,
    Tree,
    Wrapper,
    describe,
)

MOST_SHOWN = 8  # paths


def attribute(session: Session, value: Any, name: str, location: Location) -> Any:
    """`value.name`."""
    if isinstance(value, Record):
        if name in value:
            return _field(value[name])
        raise faults.unknown_field(name, location, list(value), describe(value))
    if isinstance(value, Made) and name == "shape":
        value = made_tensor(session, value, location) if session.frame else as_measured(session, value, location)
    if isinstance(value, Tensor | Measured) and name == "shape":
        return list(value.type.shape) if isinstance(value, Tensor) else shape_of(session, value, location)
    if isinstance(value, Model):
        return model_attribute(session, value, name, location)
    if isinstance(value, Tree):
        return subtree(value, name, location)
    if isinstance(value, list):
        return [attribute(session, item, name, location) for item in value]
    if hasattr(value, "field"):
        return value.field(session, name, location)
    if isinstance(value, Dataset) and name in value.columns:
        raise faults.column_as_field(name, location)
    if isinstance(value, Deferred) and value.kind == "record":
        return Deferred(["field", value.expression, name])
    known = ["shape"] if isinstance(value, Tensor | Measured) else []
    if isinstance(value, Tokenizer):
        known = list(value.fields)
        if name in known:
            return value.fields[name]
    raise faults.unknown_field(name, location, known, describe(value))


def _field(value: Any) -> Any:
    if isinstance(value, Lazy):
        value = value.force()
    if isinstance(value, Poison):
        raise Poisoned
    return value


def model_attribute(session: Session, model: Model, name: str, location: Location) -> Any:
    """`m.history`, `m.with`, a part of a model by its name, or a setting of its constructor."""
    part = part_named(session, model, name)
    if part is not None:
        return part
    if name == "history":
        training = training_of(model)
        if training is None or training.history is None:
            raise faults.wrong_value("this model has no history of one training", location)
        return Output("history", training.history, model.name or training.stage)
    if name == "with":
        from etude.compiler.builtins.differentiating import with_weights

        return Builtin("with", partial(with_weights, model), (("tree", False),))
    is_setting, value = setting_of(model, name)
    if is_setting:
        return value
    parts = [own for own, _ in direct_parts(session, model)]
    known = dict.fromkeys([*parts, *(own.rpartition(".")[0] for own in parts if "." in own), "history", "with"])
    raise faults.unknown_field(name, location, list(known), "a model")


def training_of(model: Model) -> Any:
    """The latest training that made a model, or None."""
    if isinstance(model, Trained):
        return model.training
    if isinstance(model, Wrapper):
        return training_of(model.base)
    if isinstance(model, Chain):
        found = [training_of(part) for part in model.parts if isinstance(part, Model)]
        known = [training for training in found if training is not None]
        return max(known, key=lambda t: int(t.stage[1:]), default=None)
    return None


def subtree(tree: Tree, name: str, location: Location) -> Any:
    """The tensor of a tree at a path, or the tree below it."""
    if name in tree.paths:
        leaf = tree.leaves[tree.paths.index(name)]
        return leaf if isinstance(leaf, Tensor) else Tree((name,), (leaf,))
    below = [i for i, path in enumerate(tree.paths) if path.startswith(f"{name}.")]
    if not below:
        near = nearest_paths(name, tree.paths, len(tree.paths) if len(tree.paths) <= MOST_SHOWN else 3)
        raise faults.unknown_field(name, location, near, "a tree of tensors")
    paths = tuple(tree.paths[i].removeprefix(f"{name}.") for i in below)
    return Tree(paths, tuple(tree.leaves[i] for i in below))
