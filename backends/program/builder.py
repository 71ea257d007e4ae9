"""Build a `Sub` operation by operation: the one way programs are made, by the tracer and by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from etude.backends.ops import OperandError, Operation, find
from etude.backends.program.ir import Child, Literal, Op, Operand, Slot, Sub, Value
from etude.backends.program.types import DType, TensorType, promote

INTEGERS = frozenset({"int", "bool"})  # the kinds of operands that cannot be floats


class Builder(Struct):
    """Collects the operations of one sub-program.

    >>> from etude.backends.program.dims import b
    >>> build = Builder("double")
    >>> x = build.input("x", TensorType("float32", (b, 3)))
    >>> str(build.apply("mul", [x, Literal(2.0)])[0].type)
    'float32[b, 3]'
    """

    name: str
    inputs: list[tuple[str, Value]] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    sites: int = 0
    is_random: bool = False
    doc: str = ""
    _next: int = 0

    def input(self, name: str, type: TensorType) -> Value:
        value = self._value(type)
        self.inputs.append((name, value))
        self.names[value.id] = name
        return value

    def apply(
        self, name: str, operands: Sequence[Operand], attributes: Mapping[str, Any] | None = None
    ) -> tuple[Value, ...]:
        """Append an operation of the table: operands are promoted as its signature says, result types inferred.

        Attributes that are left out take their defaults from `attributes` being complete: callers give all of them.
        Raises `OperandError`.
        """
        operation = find(name)
        assert operation is not None, f"no operation is called {name}"
        attrs = dict(attributes or {})
        operands = self._promoted(operation, list(operands), attrs)
        results = operation.infer([operand.type for operand in operands], attrs)
        if operation.is_random:
            attrs["site"] = self.next_site()
            self.is_random = True
        return self.append(name, operands, attrs, results)

    def append(
        self, name: str, operands: Sequence[Operand], attributes: Mapping[str, Any], types: Sequence[TensorType]
    ) -> tuple[Value, ...]:
        """Append an operation as it is given."""
        results = tuple([self._value(type) for type in types])
        self.ops.append(Op(name, tuple(operands), tuple(attributes.items()), results))
        return results

    def weight(self, slot: Slot) -> Value:
        """A new weight of this sub-program."""
        self.slots.append(slot)
        (value,) = self.append("weight", (), {"slot": len(self.slots) - 1}, (slot.type,))
        return value

    def update(self, slot: int, value: Operand) -> None:
        """Put a value into a running slot."""
        self.append("update", (value,), {"slot": slot}, ())

    def call(
        self, child: int, operands: Sequence[Operand], types: Sequence[TensorType], *, rows: bool = False
    ) -> tuple[Value, ...]:
        """Call the sub-model at index `child`."""
        attributes = {"child": child, "site": self.next_site(), "rows": rows}
        self.is_random |= self.children[child].sub.is_random
        return self.append("call", operands, attributes, types)

    def cast(self, operand: Operand, dtype: DType) -> Operand:
        """`operand` as `dtype`: a literal is converted at once."""
        if operand.type.dtype == dtype:
            return operand
        if isinstance(operand, Literal):
            return Literal({"bool": bool, "int32": int, "float32": float}[dtype](operand.value))
        return self.append("cast", (operand,), {"dtype": dtype}, (operand.type.with_dtype(dtype),))[0]

    def next_site(self) -> int:
        self.sites += 1
        return self.sites - 1

    def build(self, outputs: Sequence[tuple[str, Operand]]) -> Sub:
        return Sub(
            name=self.name,
            inputs=tuple(self.inputs),
            slots=tuple(self.slots),
            children=tuple(self.children),
            ops=tuple(self.ops),
            outputs=tuple(outputs),
            is_random=self.is_random,
            doc=self.doc,
            names=self.names,
        )

    def _value(self, type: TensorType) -> Value:
        self._next += 1
        return Value(self._next - 1, type)

    def _promoted(self, operation: Operation, operands: list[Operand], attrs: dict[str, Any]) -> list[Operand]:
        kinds = operand_kinds(operation, len(operands), attrs.get("has"))
        if all(o.type.dtype == "float32" for o in operands) and INTEGERS.isdisjoint(kinds):
            return operands  # as most are
        common = {
            kind: promote([o.type.dtype for o, k in zip(operands, kinds, strict=True) if k == kind])
            for kind in ("number", "same")
        }
        if common["number"] == "bool":
            common["number"] = "int32"
        return [
            self._operand(operand, kind, common, index)
            for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True))
        ]

    def _operand(self, operand: Operand, kind: str, common: Mapping[str, DType], index: int) -> Operand:
        dtype = operand.type.dtype
        if kind in common:
            return self.cast(operand, common[kind])
        if kind == "float":
            return self.cast(operand, "float32")
        if kind == "int" and dtype == "bool":
            return self.cast(operand, "int32")
        if (kind == "int" and dtype != "int32") or (kind == "bool" and dtype != "bool"):
            raise OperandError(f"expected {kind} values, got {operand.type}", operand=index)
        return operand


def operand_kinds(operation: Operation, count: int, given: Sequence[str] | None) -> Sequence[str]:
    """The promotion kind of each of `count` operands; `given` names the operands when optional ones are left out."""
    kinds = operation.kinds
    if kinds[:1] == ("numbers",):
        return ["same"] * count
    if given is not None:
        kinds = tuple(p.kind for p in operation.operand_parameters if p.name in given)
    assert len(kinds) >= count, f"{operation.name} takes {len(kinds)} operands"
    return kinds[:count]
