"""Tensor programs to JSON values and back, and the digests by which keys know them."""

from __future__ import annotations

import hashlib
from typing import Any

from etude.backends.program.dims import Size
from etude.backends.program.ir import Child, Literal, Module, Op, Operand, Slot, StageProgram, Sub, Value
from etude.backends.program.spelling import speller
from etude.backends.program.types import TensorType

Json = Any
UNNAMED = ("", "next.", "out.")  # a result that is no record: of a function, and of that of a `scan`


def program_to_json(program: StageProgram) -> Json:
    """All that a backend needs.

    `digest` is equal for programs that do the same, whatever their parts are called; `operations` are those they use.
    """
    subs = list(program.sub.walk())
    index = {id(sub): i for i, sub in enumerate(subs)}
    return {
        "subs": [
            {**_encoded(sub)["json"], "children": [[child.name, index[id(child.sub)]] for child in sub.children]}
            for sub in subs
        ],
        "modules": [_module_to_json(module) for module in program.modules],
        "digest": program_digest(program.sub),
        "operations": sorted({op.name for sub in subs for op in sub.ops}),
    }


def program_digest(sub: Sub) -> str:
    """Equal for programs that do the same to inputs and outputs of the same names."""
    return str(_encoded(sub)["digest"])


def sub_digest(sub: Sub) -> str:
    """Equal for sub-programs that do the same and whose parts have the same names."""
    return str(_encoded(sub)["named"])


def _encoded(sub: Sub) -> dict[str, Any]:
    """The JSON of a sub-program without its children, and its two digests; computed once for each object."""
    known = sub.__dict__.get("_encoded")
    if known is None:
        known = _encode(sub)
        sub.__dict__["_encoded"] = known
    found: dict[str, Any] = known
    return found


def _encode(sub: Sub) -> dict[str, Any]:
    data = _sub_to_json(sub)
    children = [_encoded(child.sub) for child in sub.children]
    slots, ops, random = _text([slot[1:] for slot in data["slots"]]), _text(data["ops"]), _text(data["random"])
    does = f"[{_text(data['inputs'])},{slots},{ops},{_text(data['outputs'])},{random}]"
    # what goes into a stage's program and comes out is known by name, of a model or a function inside it by position
    given, made = [value for _, *value in data["inputs"]], [*map(_placed, range(len(sub.outputs)), data["outputs"])]
    inside = f"[{_text(given)},{slots},{ops},{_text(made)},{random}]"
    names = [sub.name, sub.doc, [slot.name for slot in sub.slots], [child.name for child in sub.children]]
    below = _text([child["inside"] for child in children])
    return {
        "json": data,
        "digest": _digest(f"[{does},{below}]"),
        "inside": _digest(f"[{inside},{below}]"),
        "named": _digest(f"[{does},{_text(names)},{_text([child['named'] for child in children])}]"),
    }


def _placed(place: int, output: Json) -> Json:
    """An output with its place for a name that a recipe gave it."""
    name, value = output
    return [name if name in UNNAMED or name.startswith("@") else str(place), value]


_text = speller(ascii=True, sort=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def program_from_json(data: Json) -> StageProgram:
    """The inverse of `program_to_json`. The last sub-program is the root."""
    subs: list[Sub] = []
    for item in data["subs"]:
        subs.append(_sub_from_json(item, subs))
    return StageProgram(subs[-1], tuple(_module_from_json(module) for module in data["modules"]))


def _sub_to_json(sub: Sub) -> Json:
    return {
        "inputs": [[name, *_value_to_json(value)] for name, value in sub.inputs],
        "slots": [[s.name, _type_to_json(s.type), [list(i) for i in s.init], s.running] for s in sub.slots],
        "ops": [_op_to_json(op) for op in sub.ops],
        "outputs": [[name, _operand_to_json(value)] for name, value in sub.outputs],
        "random": sub.is_random,
        "name": sub.name,
        "doc": sub.doc,
        "names": {str(k): v for k, v in sub.names.items()},
    }


def _sub_from_json(data: Json, subs: list[Sub]) -> Sub:
    values: dict[int, Value] = {}

    def value(item: Json) -> Value:
        return values.setdefault(item[0], Value(item[0], type_from_json(item[1])))

    def operand(item: Json) -> Operand:
        return Literal(item["literal"]) if isinstance(item, dict) else values[item]

    inputs = tuple((name, value(rest)) for name, *rest in data["inputs"])
    ops = []
    for name, operands, attributes, results in data["ops"]:
        given = tuple(operand(item) for item in operands)
        attrs = tuple((key, attribute_from_json(item)) for key, item in attributes)
        ops.append(Op(name, given, attrs, tuple(value(item) for item in results)))
    return Sub(
        name=data.get("name", ""),
        inputs=inputs,
        slots=tuple(
            Slot(name, type_from_json(kind), tuple((k, v) for k, v in init), running)
            for name, kind, init, running in data["slots"]
        ),
        children=tuple(Child(name, subs[i]) for name, i in data["children"]),
        ops=tuple(ops),
        outputs=tuple((name, operand(item)) for name, item in data["outputs"]),
        is_random=data["random"],
        doc=data.get("doc", ""),
        names={int(k): v for k, v in data.get("names", {}).items()},
    )


def _op_to_json(op: Op) -> Json:
    return [
        op.name,
        [_operand_to_json(o) for o in op.operands],
        [[key, attribute_to_json(value)] for key, value in op.attributes],
        [_value_to_json(value) for value in op.results],
    ]


def _operand_to_json(operand: Operand) -> Json:
    return operand.id if isinstance(operand, Value) else {"literal": operand.value}


def _value_to_json(value: Value) -> list[Json]:
    return [value.id, _type_to_json(value.type)]


def _type_to_json(type: TensorType) -> Json:
    return [type.dtype, [attribute_to_json(dim) for dim in type.shape]]


def type_from_json(data: Json) -> TensorType:
    return TensorType(data[0], tuple(attribute_from_json(dim) for dim in data[1]))


def attribute_to_json(value: Any) -> Json:
    """Attributes are numbers, strings, booleans, None, dimensions, and tuples of those."""
    kind = type(value)
    if kind is tuple:
        return [attribute_to_json(item) for item in value]
    return {"b": list(value.coefficients)} if kind is Size else value


def attribute_from_json(value: Json) -> Any:
    if isinstance(value, dict):
        return Size(tuple(value["b"]))
    return tuple(attribute_from_json(item) for item in value) if isinstance(value, list) else value


def _module_to_json(module: Module) -> Json:
    return [list(module.slots), [_module_to_json(child) for child in module.children]]


def _module_from_json(data: Json) -> Module:
    return Module(tuple(data[0]), tuple(_module_from_json(child) for child in data[1]))
