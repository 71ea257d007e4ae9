"""Derivatives, and the weights of models as values."""

from __future__ import annotations

from typing import Any

from etude.backends.program.ir import Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.builtins.data import function_argument
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.choices import choose as pick
from etude.compiler.derivatives import derivatives
from etude.compiler.diagnostics import Related
from etude.compiler.rebinding import descend as inner_loop
from etude.compiler.rebinding import rebound
from etude.compiler.regions import each as map_elements
from etude.compiler.regions import scan as carry_over
from etude.compiler.tracing import apply_operation, made_tensor
from etude.compiler.trees import weights_of
from etude.compiler.typing import is_function
from etude.compiler.values import Builtin, Deferred, Model, Record, Tensor, Tree, describe
from etude.compiler.wrappers import start_of


@builtin
def grad(site: CallSite, value: Any, *, wrt: Any) -> Any:
    """The total derivative of a number by a tensor that it was computed from, or by a tree, record or list of them."""
    if site.session.frame is None:
        raise faults.only_in_traced_code("'grad'", site.location, "a model, or a function given to a stage")
    if not isinstance(value, Tensor) or not isinstance(value.operand, Value):
        raise faults.wrong_kind("'value' of 'grad'", "a tensor", describe(value), site.at("value"))
    if value.type.rank or value.type.dtype != "float32":
        raise faults.not_a_scalar("what 'grad' differentiates", str(value.type), site.at("value"))
    tensors = _tensors(site, wrt)
    found = derivatives(site.session, value, tensors, site.location, what="'wrt'")
    return _shaped(wrt, iter(found))


@builtin
def hessian(site: CallSite, value: Any, *, wrt: Any) -> Any:
    """All second derivatives of a number by a tensor that it was computed from: its shape, twice."""
    if not isinstance(wrt, Tensor):
        help = "hvp(value, wrt = .., v = ..) is the product with a direction, for trees too"
        raise faults.wrong_kind("'wrt' of 'hessian'", "a tensor", describe(wrt), site.at("wrt"), help)
    slope = grad(site, value, wrt=wrt)
    shape, size, session, at = wrt.type.shape, wrt.type.size, site.session, site.location

    def row(call: CallSite, unit: Any) -> Any:
        along = apply_operation(session, "mul", [slope, unit], {}, at)
        return grad(call, apply_operation(session, "sum", [along], {}, at), wrt=wrt)

    units = apply_operation(session, "eye", [], {"n": size}, at)
    units = apply_operation(session, "reshape", [units], {"shape": (size, *shape)}, at)
    rows = map_elements(session, units, Builtin("row", row, (("unit", False),)), at, site.evaluator)
    return apply_operation(session, "reshape", [rows], {"shape": (*shape, *shape)}, at)


def _tensors(site: CallSite, wrt: Any) -> list[Tensor]:
    if isinstance(wrt, Tree):
        items = list(wrt.leaves)
    elif isinstance(wrt, Record):
        return [tensor for item in wrt.values() for tensor in _tensors(site, item)]
    elif isinstance(wrt, list):
        return [tensor for item in wrt for tensor in _tensors(site, item)]
    else:
        items = [wrt]
    frame = site.session.frame
    for item in items:
        if not isinstance(item, Tensor) or not isinstance(item.operand, Value) or item.type.dtype != "float32":
            expected = "a tensor of floats, or a tree, a record or a list of such"
            raise faults.wrong_kind("'wrt' of 'grad'", expected, describe(item), site.at("wrt"))
        if item.builder is not frame.builder:
            text = "'wrt' is a tensor of another function"
            raise faults.wrong_value(text, site.at("wrt"), "hand it over as an input of the model")
    return items


def _shaped(wrt: Any, found: Any) -> Any:
    if isinstance(wrt, Tree):
        return Tree(wrt.paths, tuple(next(found) for _ in wrt.leaves))
    if isinstance(wrt, Record):
        return Record({name: _shaped(item, found) for name, item in wrt.items()})
    if isinstance(wrt, list):
        return [_shaped(item, found) for item in wrt]
    return next(found)


@builtin
def weights(site: CallSite, model: Any) -> Tree:
    """The weights of a model as a tree: the current ones inside a function of a stage, else as they are then."""
    return weights_of(site.session, _model(site, model), site.location)


@builtin
def start(site: CallSite, model: Any) -> Model:
    """A model as it is when the stage that uses it begins: nothing of it learns."""
    return start_of(_model(site, model))


def with_weights(model: Model, site: CallSite, tree: Any) -> Model:
    """`m.with(tree)`: the model with the tensors of a tree in the place of its weights."""
    if not isinstance(tree, Tree):
        raise faults.wrong_kind("'tree' of 'with'", "a tree shaped like weights(m)", describe(tree), site.at("tree"))
    if site.session.frame is None:
        from etude.compiler.computed import with_tree

        return with_tree(site, model, tree)
    return rebound(site.session, model, tree, site.location)


@builtin
def descend(site: CallSite, model: Any, loss: Any, steps: Any = 1, lr: Any = 0.01) -> Model:
    """A model after `steps` of gradient descent on `loss`, a function of it; derivatives go through all of them."""
    if site.session.frame is None:
        raise faults.only_in_traced_code("'descend'", site.location, "a loss")
    call, count = function_argument(site, loss, "loss"), plain_int(site, "steps", steps)
    if count < 0:
        raise faults.wrong_value("'steps' of 'descend' is no less than 0", site.at("steps"))
    if isinstance(lr, bool) or not isinstance(lr, int | float | Tensor):
        raise faults.wrong_kind("'lr' of 'descend'", "a number", describe(lr), site.at("lr"))
    return inner_loop(site.session, _model(site, model), call, count, lr, site.location, site.evaluator)


@builtin
def each(site: CallSite, xs: Any, function: Any) -> Any:
    """What a function makes of each element of the first axis of a tensor, or of tensors in a record, stacked."""
    if site.session.frame is None:
        raise faults.only_in_traced_code("'each'", site.location, "a model, or a function given to a stage")
    call = function_argument(site, function, "function")
    return map_elements(site.session, xs, call, site.location, site.evaluator)


@builtin
def scan(site: CallSite, xs: Any, function: Any, *, from_: Any) -> Record:
    """A state carried over the first axis: `(state, x) => {next, out}` gives the last state, and the outs stacked."""
    if site.session.frame is None:
        raise faults.only_in_traced_code("'scan'", site.location, "a model, or a function given to a stage")
    call = function_argument(site, function, "function")
    return carry_over(site.session, xs, from_, call, site.location, site.evaluator)


@builtin
def choose(site: CallSite, index: Any, branches: Any) -> Any:
    """The function, or the model, at a place of a list, picked while the program runs; all give results of one type."""
    if site.session.frame is None:
        raise faults.only_in_traced_code("'choose'", site.location, "a model, or a function given to a stage")
    if not isinstance(branches, list) or not branches or not all(is_function(branch) for branch in branches):
        expected = "a list of functions or models"
        raise faults.wrong_kind("'branches' of 'choose'", expected, describe(branches), site.at("branches"))
    if isinstance(index, int) and not isinstance(index, bool):
        return branches[min(max(index, 0), len(branches) - 1)]
    if isinstance(index, Deferred):
        index = made_tensor(site.session, index, site.at("index"))
    if not isinstance(index, Tensor) or index.type != TensorType("int32"):
        got = str(index.type) if isinstance(index, Tensor) else describe(index)
        help = "write int(...) of a number; each(xs, ...) makes a choice for every element"
        made = [Related(index.location, f"it is made here, as {got}")] if isinstance(index, Tensor) else []
        raise faults.wrong_kind("'index' of 'choose'", "one int", got, site.at("index"), help, made)

    def chosen(call: CallSite, *given: Any) -> Any:
        return pick(site.session, index, branches, given, call.location, site.evaluator)

    return Builtin("choose", chosen, (), is_variadic=True)


def _model(site: CallSite, value: Any) -> Model:
    if not isinstance(value, Model):
        raise faults.wrong_kind(f"'model' of '{site.name}'", "a model", describe(value), site.at("model"))
    return value
