"""`m.name` of models and trees: parts, settings, what a model remembers, and the tensors of a tree by their paths."""

from __future__ import annotations

from functools import partial
from typing import Any

from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.globs import nearest_paths
from etude.compiler.parts import direct_parts, part_named, setting_of
from etude.compiler.session import Session
from etude.compiler.values import Builtin, Chain, Model, Output, Tensor, Trained, Tree, Wrapper

MOST_SHOWN = 8  # paths


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
