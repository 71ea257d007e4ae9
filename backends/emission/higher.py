"""Spell the operations that give a function of the program to the framework: derivatives, maps, loops, choices."""

from __future__ import annotations

from collections.abc import Sequence

from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import Op


def fold(site: object) -> str:
    """The key of a site."""
    return f"random.fold(key, {site})"


def higher(
    op: Op, framework: Framework, functions: Sequence[str], operands: Sequence[str], has_key: Sequence[bool]
) -> str:
    """The expression for an operation on some functions; `has_key` says of each whether it draws.

    >>> higher(Op("grad", (), (("count", 2), ("mapped", ())), ()), "jax", ["value"], ["w", "b", "x"], [False])
    'jax.grad(value, argnums=(0, 1))(w, b, x)'
    """
    match op.name:
        case "grad":
            return _derivatives(op, framework, functions[0], operands, has_key=has_key[0])
        case "apply":
            own = ["key"] if has_key[0] and not op.attrs["given"] else []
            return f"{functions[0]}({', '.join([*operands, *own])})"
        case "each":
            return _each(op, framework, functions[0], operands, has_key=has_key[0])
        case "scan":
            return _scan(op, framework, functions[0], operands, has_key=has_key[0])
        case "loop":
            return _loop(op, functions[0], operands, has_key=has_key[0])
    return _choice(op, functions, operands, has_key)


def _derivatives(op: Op, framework: Framework, function: str, operands: Sequence[str], *, has_key: bool) -> str:
    """The derivatives of a function by its first arguments, on each row where it is mapped over them."""
    count = op.attrs["count"]
    numbers = "" if count == 1 else f", argnums={tuple(range(count)) if count <= 4 else f'tuple(range({count}))'}"
    text = f"{'torch.func' if framework == 'torch' else 'jax'}.grad({function}{numbers})"
    levels = [op.attrs["mapped"]] if op.attrs["mapped"] else []
    return f"{_mapped(text, framework, levels, has_key)}({', '.join([*operands, *['key'] * has_key])})"


def _mapped(function: str, framework: Framework, levels: Sequence[Sequence[bool]], has_key: bool) -> str:
    """A function mapped over the first axis of some arguments, once for each level, of which the first is outermost."""
    name, axis = ("torch.vmap", "in_dims") if framework == "torch" else ("jax.vmap", "in_axes")
    for flags in reversed(levels):
        axes = tuple(0 if is_mapped else None for is_mapped in (*flags, *[False] * has_key))
        function = f"{name}({function})" if all(flags) and not has_key else f"{name}({function}, {axis}={axes})"
    return function


def _each(op: Op, framework: Framework, function: str, operands: Sequence[str], *, has_key: bool) -> str:
    """A function on every element; one that draws is given a key for each."""
    levels = op.attrs["mapped"]
    if not has_key or op.attrs.get("keyed") == "same":
        return f"{_mapped(function, framework, levels, has_key)}({', '.join([*operands, *['key'] * has_key])})"
    if op.attrs.get("keyed") == "rows":
        *operands, rows = operands
        keys = f"random.fold({fold(op.attrs['site'])}, {rows})"
        return f"{_mapped(function, framework, [(*levels[0], True)], False)}({', '.join([*operands, keys])})"
    first = operands[levels[-1].index(True)]
    keys = f"element_keys({fold(op.attrs['site'])}, {first})"
    return f"{_mapped(function, framework, [(*levels[0], True)], False)}({', '.join([*operands, keys])})"


def _scan(op: Op, framework: Framework, function: str, operands: Sequence[str], *, has_key: bool) -> str:
    given = f"{function}, {op.attrs['states']}, {op.attrs['elements']}"
    if not op.attrs["mapped"]:
        key = [f"key={fold(op.attrs['site'])}"] if has_key else []
        return f"scan({', '.join([given, *operands, *key])})"
    text = f"lambda *given: scan({given}, *given)"
    return f"{_mapped(text, framework, op.attrs['mapped'], False)}({', '.join(operands)})"


def _loop(op: Op, function: str, operands: Sequence[str], *, has_key: bool) -> str:
    """A function called once for each number of a range, on what it gave the last time."""
    first = [op.attrs["start"]] if op.attrs["start"] else []
    numbers = f"range({', '.join(map(str, [*first, op.attrs['stop'] + 1]))})"
    key = [f"key={fold(op.attrs['site'])}"] if has_key else []
    return f"loop({', '.join([function, numbers, str(op.attrs['states']), *operands, *key])})"


def _choice(op: Op, functions: Sequence[str], operands: Sequence[str], has_key: Sequence[bool]) -> str:
    """One of several functions, by a number; all of them where each row, or each element, has its own."""
    key = fold(op.attrs["site"])
    branches = [
        f"lambda *given: {function}(*given, {key})" if draws else function
        for function, draws in zip(functions, has_key, strict=True)
    ]
    name = "select" if op.attrs["select"] else "choose"
    return f"{name}({operands[0]}, [{', '.join(branches)}]{''.join(f', {operand}' for operand in operands[1:])})"
