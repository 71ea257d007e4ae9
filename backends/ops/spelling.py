"""Spell one operation as a Python expression of a framework."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeAlias
from typing import Literal as Choice

from etude.backends.ops.literals import literal_text
from etude.backends.ops.table import Operation, find
from etude.backends.program.ir import Literal, Op

Framework: TypeAlias = Choice["numpy", "torch", "jax"]

SCALARS = {
    "numpy": {"bool": "np.bool_({0})", "int32": "np.int32({0})", "float32": "np.float32({0})"},
    "torch": {
        "bool": "torch.full((), {0})",
        "int32": "torch.full((), {0}, dtype=torch.int32)",
        "float32": "torch.full((), {0})",
    },
    "jax": {"bool": "jnp.bool_({0})", "int32": "jnp.int32({0})", "float32": "jnp.float32({0})"},
}
DEFAULTS = {("dim", None), ("axis", None), ("keepdim", False), ("keepdims", False)}


def spell(op: Op, framework: Framework, operands: Sequence[str], key: str | None = None) -> str:
    """The expression for `op` with the texts of its `operands` put in, with as few parentheses as precedence allows.

    `key` is the text of the key that the enclosing sub-program was given: the operation's site is folded in here. The
    batch size is the variable `b` (only where `needs_batch` of the text is true). An operation with several results
    gives an expression for their tuple.
    """
    operation = find(op.name)
    assert operation is not None, f"no operation is called {op.name}"
    given = list(operands)
    rows = given.pop() if op.attrs.get("rows") else None
    takes_list = operation.operand_parameters[:1] and operation.operand_parameters[0].kind == "numbers"
    names = () if takes_list else operation.operand_names(len(given), op.attrs)
    literals = {name: o.value for name, o in zip(names, op.operands, strict=False) if isinstance(o, Literal)}
    template = _template(operation, op, framework, literals)
    texts = _listed_text(operation, op, given, framework) if takes_list else _operand_texts(op, names, given)
    texts |= {name: literal_text(value) for name, value in literals.items() if name in texts}
    texts |= {name: literal_text(value) for name, value in op.attributes if name not in texts}
    if operation.is_random:
        assert key is not None, f"{op.name} is random and needs a key"
        texts["key"] = f"random.fold({key}, {op.attrs['site']})"
        if rows is not None:
            texts["key"] = f"random.fold({texts['key']}, {rows})"
    free = _free(operation, names, literals)
    fill = _Fill(texts, literals, free, free & frozenset(operation.bare), framework)
    return ast.unparse(fill.visit(deepcopy(_parse(template))))


def needs_batch(expression: str) -> bool:
    """Whether the variable `b` stands in a spelled expression."""
    return any(isinstance(node, ast.Name) and node.id == "b" for node in ast.walk(_parse(expression)))


def _free(operation: Operation, names: Sequence[str], literals: Mapping[str, Any]) -> frozenset[str]:
    """The numbers that no other number stands beside without a tensor of the dtype that both were promoted to."""
    kinds = {p.name: p.kind for p in operation.operand_parameters if p.name in names}
    tensors = {kind for name, kind in kinds.items() if name not in literals}
    alone = {kind for kind in kinds.values() if list(kinds.values()).count(kind) == 1}
    return frozenset(name for name in literals if kinds.get(name) in tensors | alone)


def _listed_text(operation: Operation, op: Op, given: Sequence[str], framework: Framework) -> dict[str, str]:
    """The operands of an operation on a list; numbers among them become scalars of the framework."""
    items = [
        SCALARS[framework][operand.type.dtype].format(literal_text(operand.value))
        if isinstance(operand, Literal)
        else text
        for text, operand in zip(given, op.operands, strict=True)
    ]
    return {operation.operand_parameters[0].name: f"[{', '.join(items)}]"}


def _operand_texts(op: Op, names: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    assert len(names) == len(given), f"{op.name} takes {names}, got {len(given)} operands"
    return dict(zip(names, given, strict=True))


def _template(operation: Operation, op: Op, framework: Framework, literals: Mapping[str, Any]) -> str:
    spelling = {"numpy": operation.numpy, "torch": operation.torch, "jax": operation.jax}[framework]
    if isinstance(spelling, str):
        return spelling
    attributes: Mapping[str, Any] = op.attrs | {"literals": literals}
    return spelling([operand.type for operand in op.operands], attributes)


@cache
def _parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class _Fill(ast.NodeTransformer):
    """Replaces `{name}`, which Python reads as a set of one name, by the expression of that name."""

    def __init__(
        self,
        texts: Mapping[str, str],
        literals: Mapping[str, Any],
        free: frozenset[str],
        anywhere: frozenset[str],
        framework: Framework,
    ) -> None:
        """`free` names the numbers that may stay numbers beside a Python operator, `anywhere` those that always may."""
        self.texts, self.literals, self.framework = texts, literals, framework
        self.free, self.anywhere = free, anywhere

    def visit_Set(self, node: ast.Set) -> ast.expr:
        name = _hole(node)
        if name is None:
            return node
        assert name in self.texts, f"a spelling names {{{name}}}, which is neither operand nor attribute"
        text = self.texts[name]
        if name in self.literals and name not in self.anywhere:
            kind = Literal(self.literals[name]).type.dtype
            text = SCALARS[self.framework][kind].replace("{0}", text)
        return deepcopy(_parse(text))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node.left, node.right = self._beside(node.left), self._beside(node.right)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        node.left, node.comparators = self._beside(node.left), [self._beside(c) for c in node.comparators]
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        node.args = [item for arg in node.args for item in _spliced(arg)]
        node.keywords = [k for k in node.keywords if not _is_default(k)]
        return node

    def _beside(self, node: ast.expr) -> ast.expr:
        name = _hole(node)
        if name in self.free:
            return deepcopy(_parse(self.texts[name]))
        result: ast.expr = self.visit(node)
        return result


def _hole(node: ast.expr) -> str | None:
    if isinstance(node, ast.Set) and len(node.elts) == 1 and isinstance(node.elts[0], ast.Name):
        return node.elts[0].id
    return None


def _spliced(argument: ast.expr) -> list[ast.expr]:
    if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.List):
        return argument.value.elts
    return [argument]


def _is_default(keyword: ast.keyword) -> bool:
    value = keyword.value
    return isinstance(value, ast.Constant) and (keyword.arg, value.value) in DEFAULTS
