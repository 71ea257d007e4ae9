"""Weights computed from weights: a stage whose program takes some and gives others, and the model that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.dims import evaluate
from etude.backends.program.ir import Slot, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.compiler import faults
from etude.compiler.alike import check_alike, own_weights
from etude.compiler.builtins.data import add_stage
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.instances import model_name, slot_of
from etude.compiler.keys import canonical_program
from etude.compiler.lambdas import TracedFunction
from etude.compiler.rebinding import rebound
from etude.compiler.session import Session
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.structure import digest
from etude.compiler.tracing import Frame, made_tensor
from etude.compiler.trees import combine, local, weights_of
from etude.compiler.values import (
    AnyOrigin,
    Deferred,
    FrozenOrigin,
    Measured,
    Model,
    Stored,
    Tensor,
    TrainedOrigin,
    Training,
    Tree,
    describe,
    is_weight,
)
from etude.compiler.weight_paths import Named
from etude.compiler.workflow import Ref
from etude.compiler.wrappers import apply_training

SYMBOLS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
MOST_FUSED = 64  # operations on a weight in one stage; longer sums of many models go by several


def computed(
    site: CallSite, model: Model, targets: Sequence[Named], label: str, compute: Callable[[], Sequence[Any]]
) -> Model:
    """A model with new values of some weights: `compute` gives them in order, as tensors of the stage's program."""
    session = site.session
    frame = Frame("row", Builder("weights"), False, given={})
    live, session.live = session.live, frozenset()
    try:
        with session.tracing(frame):
            values = compute()
            pairs = zip(values, targets, strict=True)
            outputs = [_output(session, value, named, site.location) for value, named in pairs]
    finally:
        session.live = live
    sub = frame.builder.build([(str(index), output) for index, output in enumerate(outputs)])
    spec, inputs = _spec(site, frame, TracedFunction(sub, tuple(frame.child_origins), None, frame.uses_mode))
    id = add_stage(site, "edit", spec, inputs.refs, {"0": "Model"}, label)
    updated: dict[AnyOrigin, TrainedOrigin] = {}
    for index, (_, _, origin) in enumerate(targets):
        plain = origin.of if isinstance(origin, FrozenOrigin) else origin
        updated.setdefault(plain, TrainedOrigin(Ref(id, "0"), index, origin.fresh))
    return replace(apply_training(model, Training(id, updated, None)), name=None)


def _output(session: Session, value: Any, named: Named, location: Location) -> Any:
    path, slot, _ = named
    tensor = made_tensor(session, value, location)
    if tensor.type != slot.type:
        text = f"the weight '{path}' is {slot.type}, what is computed for it {tensor.type}"
        raise faults.wrong_shape("edit", text, location, (), "a weight keeps its shape")
    return tensor.operand


def _spec(site: CallSite, frame: Frame, traced: TracedFunction) -> tuple[dict[str, Any], Inputs]:
    assert frame.given is not None
    inputs, seed = Inputs(), site.session.seed
    table = SlotTable(inputs, seed)
    given = [_given(site.session, table, origin, tensor) for origin, tensor in frame.given.items()]
    program = program_to_json(StageProgram(traced.sub, table.modules(traced.sub, traced.origins)))
    spec = {
        "program": program,
        "given": given,
        "slots": table.entries,
        "seed": seed if traced.sub.is_random else 0,  # what draws nothing is the same stage under every seed
        "identity": digest(canonical_program(program)),
    }
    return spec, inputs


def _given(session: Session, table: SlotTable, origin: AnyOrigin, tensor: Tensor) -> dict[str, Any]:
    """What the spec says of an input of the program: like a slot."""
    path, slot = ("value", Slot("value", tensor.type, ())) if not is_weight(origin) else slot_of(session, origin)
    shape = [evaluate(dim, 1) for dim in tensor.type.shape]
    source = table.source(origin)
    return {"path": path, "shape": shape, "dtype": tensor.type.dtype, "init": dict(slot.init), "source": source}


# --- arithmetic ----------------------------------------------------------------------------------


def arithmetic(session: Session, symbol: str, left: Any, right: Any, location: Location) -> Model:
    """`m1 + m2`, `m1 - m2`, `a * m`, `m / a`: weight by weight."""
    _check_operands(symbol, left, right, location)
    models = [side for side in (left, right) if isinstance(side, Model)]
    check_alike(session, models, location)
    return weighed(_site(session, location), models[0], [left, right], SYMBOLS[symbol])


def negated(session: Session, model: Model, location: Location) -> Model:
    """`-m`."""
    return weighed(_site(session, location), model, [model], "neg")


def averaged(site: CallSite, models: Sequence[Model], shares: Sequence[Any]) -> Model:
    """The weighted sum of models."""
    check_alike(site.session, models, site.location)
    if site.session.frame is not None:
        total = arithmetic(site.session, "*", shares[0], models[0], site.location)
        for share, model in zip(shares[1:], models[1:], strict=True):
            scaled = arithmetic(site.session, "*", share, model, site.location)
            total = arithmetic(site.session, "+", total, scaled, site.location)
        return total
    rows = [own_weights(site.session, model) for model in models]

    def compute() -> list[Any]:
        sums = []
        for weights in zip(*rows, strict=True):
            tree = None
            for share, weight in zip(shares, weights, strict=True):
                scaled = combine(site.session, "mul", [share, _leaf(site.session, weight)], site.location)
                tree = scaled if tree is None else combine(site.session, "add", [tree, scaled], site.location)
            assert tree is not None
            sums.append(tree.leaves[0])
        return sums

    return computed(site, models[0], rows[0], f"average of {len(models)}", compute)


def weighed(site: CallSite, model: Model, operands: Sequence[Any], name: str) -> Model:
    """An operation on models, weight by weight: a stage, or in a traced function a model with other tensors."""
    session = site.session
    if session.frame is not None:
        trees = [weights_of(session, side, site.location) if isinstance(side, Model) else side for side in operands]
        return rebound(session, model, combine(session, name, trees, site.location), site.location)
    sides = [own_weights(session, side) if isinstance(side, Model) else side for side in operands]
    fused = [isinstance(side, Model) and side.name is None for side in operands]
    targets = own_weights(session, model)
    leaves = [
        Stored(
            slot.type,
            None,
            name,
            tuple(
                _expression(session, side[index], may_fuse) if isinstance(side, list) else side
                for side, may_fuse in zip(sides, fused, strict=True)
            ),
        )
        for index, (_, slot, _) in enumerate(targets)
    ]
    tree = Tree(tuple(path for path, _, _ in targets), tuple(leaves))
    made = computed(site, model, targets, name, lambda: local(session, tree, site.location).leaves)
    for (_, _, origin), leaf in zip(own_weights(session, made), leaves, strict=True):
        session.memo["expression", origin] = leaf
    return made


def _expression(session: Session, named: Named, may_fuse: bool) -> Stored:
    """A weight as an operand: as it is, or of a model without a name how it was computed."""
    _, slot, origin = named
    known = session.memo.get(("expression", origin)) if may_fuse else None
    if known is not None and _size(known) < MOST_FUSED:
        return known  # type: ignore[no-any-return]
    return Stored(slot.type, origin)


def _size(leaf: Any) -> int:
    return 1 + sum(map(_size, leaf.operands)) if isinstance(leaf, Stored) else 1


def _leaf(session: Session, named: Named) -> Tree:
    path, slot, origin = named
    return Tree((path,), (Stored(slot.type, origin),))


def _check_operands(symbol: str, left: Any, right: Any, location: Location) -> None:
    both = isinstance(left, Model) and isinstance(right, Model)
    other = right if isinstance(left, Model) else left
    is_scaled = symbol == "*" or (symbol == "/" and isinstance(left, Model))
    if both and symbol in {"+", "-"}:
        return
    if not both and is_scaled and isinstance(other, int | float | Deferred | Measured | Tensor):
        if isinstance(other, bool) or (isinstance(other, Measured | Tensor) and other.type.rank):
            raise faults.wrong_kind(f"'{symbol}' of a model", "one number", describe(other), location)
        return
    expected = "models of one architecture, or a model times a number"
    raise faults.wrong_kind(f"'{symbol}'", expected, f"{describe(left)} and {describe(right)}", location)


def _site(session: Session, location: Location) -> CallSite:
    return CallSite(session.evaluator, location, {}, "arithmetic", False)


# --- trees ---------------------------------------------------------------------------------------


def with_tree(site: CallSite, model: Model, tree: Tree) -> Model:
    """A model with the tensors of a tree in the place of its weights: a stage that makes them."""
    session = site.session
    targets = [named for named in own_weights(session, model) if not named[1].running]
    if len(targets) != len(tree.leaves):
        text = f"'{model_name(model)}' has {len(targets)} weights, the tree {len(tree.leaves)} tensors"
        raise faults.wrong_shape("with", text, site.location, (), "give it a tree shaped like weights(m)")
    return computed(site, model, targets, "with", lambda: local(session, tree, site.location).leaves)
