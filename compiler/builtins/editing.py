"""Weights computed from weights: edited one by one, averaged, laid end to end, folded back from adapters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from etude.backends.program.dims import evaluate
from etude.compiler import faults, weight_faults
from etude.compiler.alike import check_base, own_weights
from etude.compiler.builtins.data import function_argument
from etude.compiler.builtins.rewriting import globs_argument, known, model_argument
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.computed import averaged, computed
from etude.compiler.globs import matches, nearest_paths
from etude.compiler.instances import model_name
from etude.compiler.measured import computed as operated_on
from etude.compiler.measured import measured_leaf
from etude.compiler.parts import all_parts
from etude.compiler.rebinding import rebound
from etude.compiler.session import Session
from etude.compiler.surgery import Replacement, trace_like
from etude.compiler.tracing import apply_operation, call_operation
from etude.compiler.trees import given, local, weights_of
from etude.compiler.typing import is_float
from etude.compiler.values import Adapter, Model, Tensor, Tree, describe
from etude.compiler.weight_paths import Named


@builtin
def edit(site: CallSite, model: Any, function: Any, *, at: Any = None, beside: Any = None) -> Model:
    """A model whose weights are what a function makes of them, all or those whose paths a glob names.

    With `beside`, another model, the function is `(w, v) => e`, where v is that model's weight at the same path.
    """
    if beside is not None:
        trace_like(site.session, model_argument(site, model), model_argument(site, beside, "beside"), site)
    base, globs = known(site, model), globs_argument(site, "**" if at is None else at, "at")
    call = function_argument(site, function, "function")
    targets = matching_weights(site, base, globs)
    others = None if beside is None else _at_same_paths(site, known(site, beside, "beside"), targets)
    session = site.session
    if session.frame is not None:
        return _edited_here(site, base, call, {path for path, _, _ in targets}, beside)

    def compute() -> list[Any]:
        rows = zip(targets, others, strict=True) if others is not None else ((target,) for target in targets)
        arguments = [[given(session.frame, o, slot.type, site.location) for _, slot, o in row] for row in rows]
        return [site.evaluator.call(call, weights, {}, site.at("function")) for weights in arguments]

    return computed(site, base, targets, ", ".join(globs), compute)


def _at_same_paths(site: CallSite, other: Model, targets: Sequence[Named]) -> list[Named]:
    """The weights of another model at the same paths."""
    found = {named[0]: named for named in own_weights(site.session, other)}
    for path, _, _ in targets:
        if path not in found:
            near = nearest_paths(path, list(found))
            raise weight_faults.no_weight_of(path, model_name(other), site.at("beside"), near)
    return [found[path] for path, _, _ in targets]


def _edited_here(site: CallSite, model: Model, call: Any, paths: set[str], beside: Model | None) -> Model:
    tree = weights_of(site.session, model, site.location)
    other = None if beside is None else weights_of(site.session, beside, site.location)
    others = {} if other is None else {p: [leaf] for p, leaf in zip(other.paths, other.leaves, strict=True)}
    leaves = [
        site.evaluator.call(call, [leaf, *others.get(path, [])], {}, site.at("function")) if path in paths else leaf
        for path, leaf in zip(tree.paths, tree.leaves, strict=True)
    ]
    return rebound(site.session, model, Tree(tree.paths, tuple(leaves)), site.location)


def matching_weights(site: CallSite, model: Model, globs: Sequence[str]) -> list[Named]:
    """The weights of a model whose paths globs name. Refuses a glob that names none."""
    found = own_weights(site.session, model)
    for glob in globs:
        if not any(matches(glob, path) for path, _, _ in found):
            near = nearest_paths(glob, [path for path, _, _ in found])
            raise weight_faults.no_weight_of(glob, model_name(model), site.at("at"), near)
    return [named for named in found if not named[1].running and any(matches(glob, named[0]) for glob in globs)]


@builtin
def average(site: CallSite, models: Any, *, shares: Any = None) -> Model:
    """The mean of models of one architecture, weight by weight; `shares` are their parts in it."""
    if not isinstance(models, list) or not models or not all(isinstance(m, Model) for m in models):
        raise faults.wrong_kind("'models' of 'average'", "a list of models", describe(models), site.at("models"))
    given_shares = [1 / len(models)] * len(models) if shares is None else shares
    if not isinstance(given_shares, list) or not all(is_float(share) for share in given_shares):
        raise faults.wrong_kind("'shares' of 'average'", "a list of numbers", describe(shares), site.at("shares"))
    if len(given_shares) != len(models):
        text = f"'average' gets {len(models)} models and {len(given_shares)} shares"
        raise faults.wrong_value(text, site.at("shares"))
    return averaged(site, models, given_shares)


@builtin
def ravel(site: CallSite, tree: Any) -> Any:
    """All tensors of a tree end to end, as one vector."""
    if not isinstance(tree, Tree):
        raise faults.wrong_kind("'tree' of 'ravel'", "a tree shaped like weights(m)", describe(tree), site.at("tree"))
    if site.session.frame is None:
        kept = [measured_leaf(site.session, leaf, site.location) for leaf in tree.leaves]
        return operated_on(site.session, kept, partial(_ravelled, site), site.location)
    return _ravelled(site, local(site.session, tree, site.location).leaves)


def _ravelled(site: CallSite, leaves: Sequence[Any]) -> Tensor:
    flat = [call_operation(site.session, "reshape", [leaf, [leaf.type.size]], {}, site.location) for leaf in leaves]
    joined: Tensor = call_operation(site.session, "concat", [flat], {"axis": 0}, site.location)
    return joined


@builtin
def unravel(site: CallSite, vector: Any, *, like: Any) -> Tree:
    """A vector as a tree of the shapes of another, or of the weights of a model."""
    if site.session.frame is None:
        help = "'edit' and 'average' make models of models; vectors of weights are compared as they are"
        raise faults.only_in_traced_code("'unravel'", site.location, "a function given to a stage", help)
    tree = weights_of(site.session, like, site.location) if isinstance(like, Model) else like
    if not isinstance(tree, Tree):
        raise faults.wrong_kind("'like' of 'unravel'", "a model or a tree", describe(like), site.at("like"))
    sizes = [evaluate(leaf.type.size, 1) for leaf in tree.leaves]
    if not isinstance(vector, Tensor) or vector.type.shape != (sum(sizes),):
        got = str(vector.type) if isinstance(vector, Tensor) else describe(vector)
        raise faults.wrong_kind("'vector' of 'unravel'", f"a vector of {sum(sizes)} numbers", got, site.at("vector"))
    leaves, start = [], 0
    for leaf, size in zip(tree.leaves, sizes, strict=True):
        index = (("slice", start, start + size),)
        piece = apply_operation(site.session, "slice", [vector], {"items": index}, site.location)
        leaves.append(call_operation(site.session, "reshape", [piece, list(leaf.type.shape)], {}, site.location))
        start += size
    return Tree(tree.paths, tuple(leaves))


# --- adapters ------------------------------------------------------------------------------------


@builtin
def fold(site: CallSite, adapter: Any, rule: Any, *, at: Any, into: Any = None) -> Model:
    """The model that an adapter adapts, with the weights of each replaced part that a glob names as a rule makes them
    of the part that stands there and the weight: `(part, w) => e`."""
    place = site.session.place(site.location)
    made, globs = known(site, adapter), globs_argument(site, at, "at")
    if not isinstance(made, Adapter):
        raise faults.wrong_kind(f"'adapter' of '{site.name}'", "an adapter", describe(made), place)
    if into is not None:
        check_base(site.session, made, model_argument(site, into, "into"), place)
    call, session = function_argument(site, rule, "rule"), site.session
    pairs = _replaced_parts(session, made)
    targets = [
        (part, named) for original, part in pairs for named in own_weights(session, original)
        if any(matches(glob, named[0]) for glob in globs)
    ]  # fmt: skip
    if not targets:
        raise weight_faults.no_weight_of(", ".join(globs), model_name(made), place, [])

    def compute() -> list[Any]:
        assert session.frame is not None
        results = []
        for part, (_, slot, origin) in targets:
            weight = given(session.frame, origin, slot.type, site.location)
            results.append(site.evaluator.call(call, [part, weight], {}, site.at("rule")))
        return results

    return computed(site, made.of, [named for _, named in targets], "merged", compute)


def _replaced_parts(session: Session, made: Adapter) -> list[tuple[Model, Model]]:
    """The parts of the adapted model that others stand in for, each with the other."""
    change: Replacement = made.replacement
    before, now = dict(all_parts(session, made.of)), dict(all_parts(session, made.base))
    return [(before[path], now[path]) for path in change.paths]
