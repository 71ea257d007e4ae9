"""`value[...]` on lists, models and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from etude.backends.program.dims import Size
from etude.compiler import faults
from etude.compiler.attributes import subtree
from etude.compiler.diagnostics import Location, Related
from etude.compiler.loops import check_index
from etude.compiler.measured import as_measured, measured_leaf, operated
from etude.compiler.positions import check_positions, take_positions
from etude.compiler.scopes import Scope
from etude.compiler.session import Session
from etude.compiler.tracing import apply_operation, made_tensor
from etude.compiler.values import Chain, Deferred, DeferredList, Made, Measured, Model, Range, Tensor, Tree, describe
from etude.compiler.windows import cut_windows, take_steps
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.elaborate import Evaluator


def index_value(evaluator: Evaluator, value: Any, node: nodes.Index, scope: Scope) -> Any:
    location = Location(scope.source, node.span)
    if isinstance(value, Tree):
        value = _of_tree(evaluator, value, node, scope, location)
        if isinstance(value, Tree | Tensor) and isinstance(node.items[0], nodes.String):
            return value
    if isinstance(value, Made):
        session = evaluator.session
        value = made_tensor(session, value, location) if session.frame else as_measured(session, value, location)
    if isinstance(value, Tensor | Measured):
        return _tensor(evaluator, value, node, scope, location)
    if isinstance(value, Range | DeferredList):
        value = list(evaluator.items(value, location))
    if isinstance(value, Model):
        return _model(evaluator, value, node, scope, location)
    if not isinstance(value, list):
        raise faults.wrong_kind("'[...]'", "a list, a tensor or a model", describe(value), location)
    if len(node.items) != 1:
        raise faults.wrong_value("a list takes one index", location)
    item = node.items[0]
    if isinstance(item, nodes.Slice | nodes.Strided):
        return value[_plain_slice(evaluator, item, scope, is_list=True)]
    return value[_position(evaluator, item, scope, len(value), "the list")]


def _of_tree(evaluator: Evaluator, tree: Tree, node: nodes.Index, scope: Scope, location: Location) -> Any:
    """A tree below a path, `weights(m)["0.w"]`, or the tensor of a tree that has one, to be picked from."""
    item = node.items[0]
    if isinstance(item, nodes.String) and len(node.items) == 1:
        return subtree(tree, item.value, Location(scope.source, item.span))
    if len(tree.leaves) > 1:
        known = ", ".join(f'"{path}"' for path in tree.paths[:3])
        help = f"take one of them by its path: {known}"
        raise faults.wrong_kind("'[...]'", "a tree of one tensor", f"one of {len(tree.leaves)}", location, help)
    (leaf,) = tree.leaves
    if isinstance(leaf, Tensor):
        return leaf
    return measured_leaf(evaluator.session, leaf, location)


def _position(evaluator: Evaluator, item: Any, scope: Scope, length: int, what: str) -> int:
    if isinstance(item, nodes.Ellipsis | nodes.Newaxis):
        raise faults.wrong_value(f"{what} takes an int as index", Location(scope.source, item.span))
    index, location = evaluator.evaluate(item, scope), Location(scope.source, item.span)
    if isinstance(index, Deferred):
        raise faults.after_the_run("this index", location)
    check_index(evaluator.session, index)
    if isinstance(index, Tensor):
        help = "choose(i, list)(x) picks at run time; take(stack(list), i) a tensor"
        raise faults.wrong_kind("an index", "an int known before the run", str(index.type), location, help)
    if not isinstance(index, int) or isinstance(index, bool):
        raise faults.wrong_kind("an index", "an int", describe(index), location)
    if not -length <= index < length:
        raise faults.wrong_value(f"index {index} is out of range: {what} has {length} elements", location)
    return index


def _bound(evaluator: Evaluator, node: Any, scope: Scope, *, is_list: bool = False) -> Any:
    if node is None:
        return None
    value = evaluator.evaluate(node, scope)
    if is_list:
        check_index(evaluator.session, value)
    elif isinstance(value, Tensor):
        return _whole(value, Location(scope.source, node.span))
    if isinstance(value, Deferred):
        raise faults.after_the_run("the bound of a slice", Location(scope.source, node.span))
    if not isinstance(value, int | Size) or isinstance(value, bool):
        location = Location(scope.source, node.span)
        raise faults.wrong_kind("the bound of a slice", "an int", describe(value), location)
    return value


def _plain_slice(
    evaluator: Evaluator, item: nodes.Slice | nodes.Strided, scope: Scope, *, is_list: bool = False
) -> slice:
    """A slice of what the compiler holds: a list, or a chain of models."""
    start, stop = (_bound(evaluator, end, scope, is_list=is_list) for end in (item.start, item.stop))
    return slice(start, stop, _step(evaluator, item, scope) if isinstance(item, nodes.Strided) else None)


def _step(evaluator: Evaluator, item: nodes.Strided, scope: Scope) -> int:
    """The step of a slice: how many places lie from one element to the next."""
    value, location = evaluator.evaluate(item.step, scope), Location(scope.source, item.step.span)
    if isinstance(value, Deferred):
        raise faults.after_the_run("the step of a slice", location)
    if not isinstance(value, int) or isinstance(value, bool):
        raise faults.wrong_kind("the step of a slice", "an int", describe(value), location)
    if value == 0:
        raise faults.wrong_value("the step of a slice cannot be 0", location)
    return value


def _model(evaluator: Evaluator, model: Model, node: nodes.Index, scope: Scope, location: Location) -> Any:
    if not isinstance(model, Chain):
        raise faults.wrong_kind("'[...]'", "a chain of models (a >> b)", "a single model", location)
    item = node.items[0]
    if isinstance(item, nodes.Slice | nodes.Strided):
        parts = model.parts[_plain_slice(evaluator, item, scope)]
        identity = ("chain", *(p.identity if isinstance(p, Model) else id(p) for p in parts))
        return replace(model, identity=identity, parts=parts, name=None)
    return model.parts[_position(evaluator, item, scope, len(model.parts), "the chain")]


def _tensor(evaluator: Evaluator, value: Any, node: nodes.Index, scope: Scope, location: Location) -> Any:
    """Pick from a tensor: of the function being traced, or known after the run."""
    session = evaluator.session
    items = [_item(evaluator, item, scope, len(node.items)) for item in node.items]
    if session.frame is None:
        late = [index for index in items if isinstance(index, Deferred | Measured)]
        apply = lambda given, _: _picked(session, given[0], given[1:] or items, location)  # noqa: E731
        return operated(session, [value, *late], {}, apply, location)
    return _picked(session, value, items, location)


def _item(evaluator: Evaluator, item: Any, scope: Scope, count: int) -> Any:
    if isinstance(item, nodes.Ellipsis):
        return ("ellipsis",)
    if isinstance(item, nodes.Newaxis):
        return ("newaxis",)
    if isinstance(item, nodes.Slice):
        return ("slice", _bound(evaluator, item.start, scope), _bound(evaluator, item.stop, scope))
    if isinstance(item, nodes.Strided):
        ends = (_bound(evaluator, item.start, scope), _bound(evaluator, item.stop, scope))
        return ("slice", *ends, _step(evaluator, item, scope))
    index = evaluator.evaluate(item, scope)
    location = Location(scope.source, item.span)
    if isinstance(index, Tensor):
        check_positions(index, location)
    if isinstance(index, Tensor | Deferred | Measured) and count == 1:
        return index
    if isinstance(index, Tensor) and index.type.rank and index.type.dtype == "int32":
        return ("at", index)
    if isinstance(index, list) and index and all(isinstance(i, int) and not isinstance(i, bool) for i in index):
        return ("at", index)
    if isinstance(index, Tensor):
        return ("index", _whole(index, location))
    if not isinstance(index, int | Size) or isinstance(index, bool):
        help = "take(x, i, axis = ..) picks at measured positions" if isinstance(index, Measured | Deferred) else None
        raise faults.wrong_kind("an index", "an int, or a list of ints", describe(index), location, help)
    return ("index", index)


def _whole(index: Tensor, location: Location) -> Tensor:
    """A tensor that is a position: one int."""
    if index.type.rank or index.type.dtype != "int32":
        help = "write int(...) of one number; take(x, i, axis = ..) picks entries at many positions"
        made = [Related(index.location, f"it is made here, as {index.type}")]
        raise faults.wrong_kind("a position", "one int", str(index.type), location, help, made)
    return index


def _picked(session: Session, value: Any, items: list[Any], location: Location) -> Any:
    given = value
    if not isinstance(items[0], tuple):
        check_positions(items[0], location)
        return apply_operation(session, "gather", [value, items[0]], {}, location)
    value, items = take_positions(session, value, items, location)
    value, items = take_steps(session, value, items, location)
    if any(isinstance(part, Tensor) for item in items for part in item[1:]):
        value, items = cut_windows(session, value, items, location)
    if all(item in {("slice", None, None), ("ellipsis",)} for item in items) and value is not given:
        return value
    return apply_operation(session, "slice", [value], {"items": tuple(items)}, location)
