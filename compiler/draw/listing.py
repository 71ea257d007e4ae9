"""Tensor programs as text, a line for each operation."""

from __future__ import annotations

from collections.abc import Iterator

from etude.backends.program.explicit import flat_slots
from etude.backends.program.ir import HIGHER, Literal, Op, Operand, StageProgram, Sub, callees
from etude.compiler.draw.labels import attributes_text
from etude.compiler.render.ansi import PLAIN, Paint

LONGEST, WIDTH = 200, 72


def list_program(program: StageProgram, paint: Paint = PLAIN) -> str:
    """The sub-programs that are called, each once and before its callers, then the program itself."""
    names = _sub_names(program.sub)
    return "\n".join("".join(f"{line}\n" for line in _sub(sub, names, paint)) for sub in program.sub.walk())


def _sub_names(root: Sub) -> dict[int, str]:
    """A name for each distinct sub-program, numbered where two share one."""
    names: dict[int, str] = {}
    for sub in root.walk():
        base = sub.name or "program"
        taken = sum(name.split("#")[0] == base for name in names.values())
        names[id(sub)] = f"{base}#{taken + 1}" if taken else base
    return names


def _sub(sub: Sub, names: dict[int, str], paint: Paint) -> Iterator[str]:
    inputs = ", ".join(f"{name}: {value.type}" for name, value in sub.inputs)
    yield paint(names[id(sub)], "bold") + f"({inputs})" + paint("  random" if sub.is_random else "", "magenta")
    texts = _value_names(sub)
    rows = [_row(sub, op, names, texts) for op in sub.ops]
    width = min(max((len(left) for left, _ in rows), default=0), WIDTH)
    for left, right in rows:
        yield f"  {left:<{width}}  {paint(right, 'grey')}".rstrip()
    for name, operand in sub.outputs:
        label = f"{name} = " if name else ""
        yield f"  {paint('return', 'blue')} {label}{_operand(operand, texts)}"


def _value_names(sub: Sub) -> dict[int, str]:
    """What each value is called: its name in the recipe, made unique, or a number."""
    texts: dict[int, str] = {}
    taken: set[str] = set()
    slots = {op.results[0].id: sub.slots[op.attrs["slot"]].name for op in sub.ops if op.name == "weight"}
    values = [value for _, value in sub.inputs] + [value for op in sub.ops for value in op.results]
    for value in values:
        name = sub.names.get(value.id) or slots.get(value.id) or f"%{value.id}"
        texts[value.id] = f"{name}.{value.id}" if name in taken else name
        taken.add(name)
    return texts


def _row(sub: Sub, op: Op, names: dict[int, str], texts: dict[int, str]) -> tuple[str, str]:
    results = ", ".join(texts[value.id] for value in op.results)
    right = ", ".join(str(value.type) for value in op.results)
    operands = ", ".join(_operand(operand, texts) for operand in op.operands)
    if op.name == "weight":
        slot = sub.slots[op.attrs["slot"]]
        init = ", ".join(str(value) for _, value in slot.init)
        return f"{results} = weight {slot.name} ({init})", right
    if op.name == "call":
        child = sub.children[op.attrs["child"]]
        model = names[id(child.sub)]
        called = child.name if child.name == model else f"{child.name}: {model}"
        return f"{results} = call {called}({operands})", right
    if op.name in {"read", "write"}:
        path, _ = list(flat_slots(sub.children[op.attrs["child"]].sub))[op.attrs["slot"]]
        place = f"{sub.children[op.attrs['child']].name}.{path}"
        return (f"{results} = read {place}" if op.name == "read" else f"{place} = {operands}"), right
    if op.name in HIGHER:
        functions = ", ".join(names[id(sub.children[place].sub)] for place in callees(op))
        return f"{results} = {_higher(op, functions)}({operands})", right
    settings = attributes_text(op, LONGEST)
    return f"{results} = {op.name}({operands})" + (f" {{{settings}}}" if settings else ""), right


def _higher(op: Op, functions: str) -> str:
    """What an operation does with a function of the program."""
    if op.name == "loop":
        return f"loop {op.attrs['start']}..{op.attrs['stop']} {functions}"
    if op.name == "choose":
        return f"{'select' if op.attrs['select'] else 'choose'} [{functions}]"
    return f"{op.name} {functions}"


def _operand(operand: Operand, texts: dict[int, str]) -> str:
    return str(operand.value) if isinstance(operand, Literal) else texts[operand.id]
