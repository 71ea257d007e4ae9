"""How much memory the values of a tensor program take at once: by their lifetimes, nothing is run.

A backward pass needs what most operations between a weight that learns and the loss have read, and of some what they
have given: that is kept until the end. All else is let go after its last use. When the backward pass comes to an
operation, what those before it have kept is still there, and the gradients of what it gave and of what it read.

In the precision "bf16" products read copies of their operands of half the size, weights too, and these are kept in the
place of the operands.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator

from msgspec import Struct

from etude.backends.emission.precision import PRODUCTS
from etude.backends.program.dims import evaluate
from etude.backends.program.ir import CALLING, Literal, Module, Op, Operand, StageProgram, Sub, Value, callees
from etude.backends.program.types import BYTES, TensorType
from etude.compiler.costs import elements

# These give another view of what they are given, which takes no memory.
VIEWS = frozenset({"reshape", "transpose", "flatten", "broadcast", "rearrange", "slice", "stop"})
# The gradient of these needs neither what they read nor what they gave.
LINEAR = frozenset(
    {"add", "sub", "neg", "sum", "mean", "concat", "stack", "pad", "roll", "flip", "repeat", "cumsum", "avg_pool"}
)
# The gradient of these is known from what they gave.
BY_RESULT = frozenset({"relu", "exp", "tanh", "sigmoid", "softmax", "log_softmax", "sqrt", "rsqrt", "dropout"})


class Held(Struct, frozen=True):
    """Bytes that a program's values take: `kept` for the backward pass, and at most at one moment (`peak`).

    `reads` says which inputs the backward pass needs, `gives` which outputs are among what is kept.
    """

    kept: int = 0
    peak: int = 0
    reads: tuple[bool, ...] = ()
    gives: tuple[bool, ...] = ()


class Rounded(Struct, frozen=True):
    """The bytes of the copies in bfloat16 that a product reads, of those that are kept for a gradient, and of what it
    gives before that is float32 again."""

    read: int = 0
    kept: int = 0
    given: int = 0


NO_COPIES = Rounded()


def held_bytes(program: StageProgram, batch: int, learning: Collection[int] = (), precision: str = "float32") -> Held:
    """The memory of one evaluation on `batch` rows, weights aside; `learning` are the slots that gradients are for."""
    sub = program.sub
    walk = _Walk(frozenset(learning), {}, precision == "bf16")
    return walk.held(sub, Module((), program.modules), batch, (False,) * len(sub.inputs))


class _Walk(Struct):
    learning: frozenset[int]
    known: dict[tuple[int, int, bool, tuple[bool, ...]], Held]
    rounds: bool

    def held(self, sub: Sub, module: Module, batch: int, inputs: tuple[bool, ...]) -> Held:
        """`inputs` says which of the inputs depend on weights that learn."""
        place = (id(sub), batch, self.learns(module), inputs)
        if place not in self.known:
            self.known[place] = self._held(sub, module, batch, inputs)
        return self.known[place]

    def learns(self, module: Module) -> bool:
        """Whether a gradient goes to a weight of a module or of those inside."""
        return not self.learning.isdisjoint(module.slots) or any(map(self.learns, module.children))

    def _held(self, sub: Sub, module: Module, batch: int, inputs: tuple[bool, ...]) -> Held:
        tracked = self._tracked(sub, module, inputs)
        inside = {
            place: self._inside(sub, module, op, batch, tracked)
            for place, op in enumerate(sub.ops)
            if op.name in CALLING
        }
        rounded = self._rounded(sub, tracked, batch)
        needed = _needed(sub, tracked, inside, rounded)
        kept, peak = _sweep(sub, batch, needed, tracked, inside, rounded)
        reads = tuple(value.id in needed for _, value in sub.inputs)
        return Held(kept, peak, reads, tuple(value.id in needed for value in _outputs(sub)))

    def _rounded(self, sub: Sub, tracked: set[int], batch: int) -> dict[int, Rounded]:
        """The copies of the products that are computed in bfloat16, by their place."""
        return {
            place: _copies(op, tracked, batch)
            for place, op in enumerate(sub.ops)
            if self.rounds and op.name in PRODUCTS and _is_float(op.results[0])
        }

    def _tracked(self, sub: Sub, module: Module, inputs: tuple[bool, ...]) -> set[int]:
        """The values that depend on weights that learn."""
        tracked = {value.id for (_, value), depends in zip(sub.inputs, inputs, strict=True) if depends}
        for op in sub.ops:
            learns = op.name == "weight" and module.slots[op.attrs["slot"]] in self.learning
            learns = learns or any(self.learns(module.children[place]) for place in callees(op))
            learns = learns or (op.name == "read" and _slot_of(module, op) in self.learning)
            if op.name != "stop" and (learns or any(value.id in tracked for value in _values(op.operands))):
                tracked |= {result.id for result in op.results}
        return tracked

    def _inside(self, sub: Sub, module: Module, op: Op, batch: int, tracked: set[int]) -> Held:
        """What called sub-programs take: of one whose gradient is taken twice that, of a repeated one that often."""
        depends = [isinstance(operand, Value) and operand.id in tracked for operand in op.operands]
        found = [self._child(sub, module, op, place, batch, _given(op, depends)) for place in callees(op)]
        first = found[0]
        match op.name:
            case "grad":
                return Held(2 * first.kept, 2 * first.peak, first.reads, first.gives)
            case "each":
                times = elements(op, batch)
                return Held(times * first.kept, times * first.peak, first.reads)
            case "scan" | "loop":
                times = elements(op, batch)
                reads = first.reads[1:] if op.name == "loop" else first.reads
                return Held(times * first.kept, (times - 1) * first.kept + first.peak, reads)
            case "choose":
                total = sum if op.attrs["select"] else max
                reads = tuple(any(flags) for flags in zip(*(one.reads for one in found), strict=True))
                return Held(total(one.kept for one in found), total(one.peak for one in found), (True, *reads))
        return first

    def _child(self, sub: Sub, module: Module, op: Op, place: int, batch: int, depends: list[bool]) -> Held:
        child, inner = sub.children[place].sub, module.children[place]
        depends = (depends + [False] * len(child.inputs))[: len(child.inputs)]
        return self.held(child, inner, rows_of(op, batch), tuple(depends))


def _given(op: Op, depends: list[bool]) -> list[bool]:
    """For the inputs of what an operation calls whether they depend on weights that learn."""
    if op.name == "choose":
        return depends[1:]
    if op.name == "loop":
        return [False, *[any(depends)] * op.attrs["states"], *depends[op.attrs["states"] :]]
    if op.name == "scan":
        return [*[any(depends)] * op.attrs["states"], *depends[op.attrs["states"] :]]
    return depends


def _slot_of(module: Module, op: Op) -> int:
    """The weight that a `read` reads."""
    slots = list(_flat(module.children[op.attrs["child"]]))
    return slots[int(op.attrs["slot"])]


def _flat(module: Module) -> Iterator[int]:
    yield from module.slots
    for child in module.children:
        yield from _flat(child)


def _needed(sub: Sub, tracked: set[int], inside: dict[int, Held], rounded: Container[int]) -> set[int]:
    """The values that the backward pass needs; of a view, what it is a view of."""
    needed: set[int] = set()
    for place in range(len(sub.ops) - 1, -1, -1):
        op = sub.ops[place]
        results = {result.id for result in op.results}
        if op.name in VIEWS:
            needed |= {value.id for value in _values(op.operands)} if results & needed else set()
        elif results & tracked and op.name in BY_RESULT:
            needed |= results
        elif results & tracked and op.name in CALLING:
            needed |= {value.id for value, reads in zip(op.operands, inside[place].reads, strict=False) if reads
                       and isinstance(value, Value)}  # fmt: skip
        elif results & tracked and op.name not in LINEAR:
            needed |= {value.id for value in _values(op.operands) if place not in rounded or not _is_float(value)}
    return needed


def _sweep(
    sub: Sub, batch: int, needed: set[int], tracked: set[int], inside: dict[int, Held], rounded: dict[int, Rounded]
) -> tuple[int, int]:
    """Go through the operations in order: what is kept at the end, and the most at one moment of either pass."""
    last = {value.id: place for place, op in enumerate(sub.ops) for value in _values(op.operands)}
    last |= {value.id: len(sub.ops) for value in _outputs(sub)}
    live: dict[int, int] = {}
    kept = peak = 0
    for place, op in enumerate(sub.ops):
        own, copies = inside.get(place, Held()), rounded.get(place, NO_COPIES)
        peak = max(peak, kept + sum(live.values()) + own.peak + copies.read + copies.given)
        kept += own.kept + copies.kept
        if op.name not in {"weight", "read"} and op.name not in VIEWS:
            gives = (own.gives + (False,) * len(op.results))[: len(op.results)]
            for result, is_kept in zip(op.results, gives, strict=True):
                if result.id in needed and not is_kept:
                    kept += _bytes(result.type, batch)
                elif not is_kept:
                    live[result.id] = _bytes(result.type, batch)
        peak = max(peak, kept + sum(live.values()) + copies.given, kept + _gradients(op, tracked, batch))
        for value in _values(op.operands):
            if last[value.id] == place:
                live.pop(value.id, None)
    return kept, peak


def _gradients(op: Op, tracked: set[int], batch: int) -> int:
    """The bytes of the gradients of what an operation gave, and of what it read, where they are no views."""
    if op.name in VIEWS or not any(result.id in tracked for result in op.results):
        return 0
    values = {value.id: value for value in (*op.results, *_values(op.operands)) if value.id in tracked}
    return sum(_bytes(value.type, batch) for value in values.values() if _is_float(value))


def _outputs(sub: Sub) -> list[Value]:
    return _values(output for _, output in sub.outputs)


def _values(operands: Iterable[Operand]) -> list[Value]:
    return [operand for operand in operands if not isinstance(operand, Literal)]


def _copies(op: Op, tracked: set[int], batch: int) -> Rounded:
    """What a product in bfloat16 copies: the gradient by one operand needs the others."""
    read = [operand for operand in _values(op.operands) if _is_float(operand)]
    depends = [operand.id in tracked for operand in read]
    sizes = [_bytes(operand.type, batch) // 2 for operand in read]
    kept = [any(depends[:i] + depends[i + 1 :]) or (op.name == "attention" and any(depends)) for i in range(len(read))]
    held = sum(size for size, is_kept in zip(sizes, kept, strict=True) if is_kept)
    return Rounded(sum(sizes), held, _bytes(op.results[0].type, batch) // 2)


def _is_float(value: Value) -> bool:
    return value.type.dtype == "float32"


def rows_of(op: Op, batch: int) -> int:
    """The batch that what an operation calls sees: of a model one row, or the first dimension of what it is given."""
    if op.name not in {"call", "grad"}:
        return batch
    if op.attrs.get("rows") or not op.operands:
        return 1 if op.name == "call" else batch
    shape = op.operands[0].type.shape
    return evaluate(shape[0], batch) if shape else 1


def _bytes(kind: TensorType, batch: int) -> int:
    return evaluate(kind.size, batch) * BYTES[kind.dtype]
