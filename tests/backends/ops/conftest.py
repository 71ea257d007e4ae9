"""Evaluate single operations through their spellings, without the emitter."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.ops import find
from etude.backends.ops.spelling import Framework, spell
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size, b
from etude.backends.program.ir import Literal, Operand, Sub, Value
from etude.backends.program.types import TensorType

FRAMEWORKS: tuple[Framework, ...] = ("numpy", "torch", "jax")
BATCH = 3
KEY = 12345
QUICKLY = {"xla_backend_optimization_level": 0}
DTYPES = {"f": "float32", "p": "float32", "u": "float32", "t": "float32", "s": "float32", "i": "int32", "B": "bool"}


@dataclass(frozen=True)
class Case:
    """One use of an operation: operands as numbers or texts, and all attributes."""

    name: str
    operands: tuple[Any, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.operands))}; {self.attributes})"

    @property
    def types(self) -> list[TensorType]:
        """The types of the operands that are tensors."""
        return [parse_type(text) for text in self.operands if isinstance(text, str)]

    @property
    def is_row(self) -> bool:
        """Whether the batch stands nowhere in it, so that it may stand in a row program."""
        return not any(isinstance(item, Size) for item in _parts([[t.shape for t in self.types], self.attributes]))

    @property
    def is_differentiable(self) -> bool:
        operation = find(self.name)
        assert operation is not None
        if not operation.differentiable or all(kind.dtype != "float32" for kind in self.types):
            return False
        return any(value.type.dtype == "float32" for _, value in self.program().outputs)

    def program(self) -> Sub:
        """The operation alone; every tensor operand is an input."""
        build = Builder("single")
        operands: list[Operand] = []
        for index, item in enumerate(self.operands):
            is_text = isinstance(item, str)
            operands.append(build.input(f"x{index}", parse_type(item)) if is_text else Literal(item))
        results = build.apply(self.name, operands, self.attributes)
        return build.build([(f"y{i}", value) for i, value in enumerate(results)])

    def values(self, batch: int = BATCH, seed: int = 0) -> list[np.ndarray]:
        """Numbers for the tensor operands, the same at every call and with every version of numpy."""
        generator = np.random.RandomState([seed, *map(ord, str(self))])
        return [draw_values(text, batch, generator) for text in self.operands if isinstance(text, str)]


def _parts(value: Any) -> Iterator[Any]:
    """Everything within nested lists, tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
    else:
        yield value


def parse_type(text: str) -> TensorType:
    match = re.fullmatch(r"([fpustB]|i\d+)\[(.*)\]", text)
    assert match is not None, text
    dims = tuple(b if dim == "b" else int(dim) for dim in match[2].split(",") if dim)
    return TensorType(DTYPES[match[1][0]], dims)  # type: ignore[arg-type]


def draw_values(text: str, batch: int, generator: np.random.RandomState) -> np.ndarray:
    shape = [dim.at(batch) if not isinstance(dim, int) else dim for dim in parse_type(text).shape]
    letter = text[0]
    if letter == "i":
        return generator.randint(0, int(text[1 : text.index("[")]), shape).astype(np.int32)
    if letter == "B":
        return np.asarray(generator.random_sample(shape) < 0.5)
    if letter == "t":
        return np.asarray(generator.randint(-1, 2, shape), np.float32)
    if letter in "pu":
        low, high = {"p": (0.5, 2.0), "u": (0.05, 0.95)}[letter]
        return np.asarray(generator.uniform(low, high, shape), np.float32)
    values = generator.normal(size=shape)
    if letter == "s":
        values = values @ np.swapaxes(values, -1, -2) + np.eye(shape[-1])
    return np.asarray(values, np.float32)


def complete(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The attributes with the defaults of the signature, as the tracer fills them in."""
    operation = find(name)
    assert operation is not None, f"there are cases for {name}, which is no operation"
    attributes = {p.name: _default(p.default) for p in operation.attribute_parameters if p.default is not None}
    return attributes | given


def _default(text: str) -> Any:
    return ast.literal_eval({"none": "None", "true": "True", "false": "False"}.get(text, text))


def load_cases() -> list[Case]:
    spec = importlib.util.spec_from_file_location("operation_cases", Path(__file__).parent / "cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [_case(name, item) for name, items in module.CASES.items() for item in items]


def _case(name: str, item: tuple[Any, ...]) -> Case:
    given = item[-1] if isinstance(item[-1], dict) else {}
    operands = item[:-1] if isinstance(item[-1], dict) else item
    attributes = complete(name, given)
    operation = find(name)
    assert operation is not None
    names = [p.name for p in operation.operand_parameters]
    optional = [p.name for p in operation.operand_parameters if p.default is not None]
    if optional and "has" not in attributes:
        attributes["has"] = tuple(names[: len(operands)])
    return Case(name, operands, attributes)


def namespace(framework: Framework) -> dict[str, Any]:
    """The names that spellings of a framework may use."""
    functions = vars(importlib.import_module(f"etude.backends.{framework}.functions"))
    names = {name: value for name, value in functions.items() if not name.startswith("_")}
    names["random"] = importlib.import_module(f"etude.backends.{framework}.random")
    if framework == "numpy":
        return names | {"np": np}
    if framework == "torch":
        torch = importlib.import_module("torch")
        return names | {"torch": torch, "F": torch.nn.functional}
    jax = importlib.import_module("jax")
    return names | {"jax": jax, "jnp": jax.numpy, "lax": jax.lax}


def run_program(
    program: Sub,
    framework: Framework,
    inputs: Sequence[Any],
    batch: int,
    weights: Sequence[Any] = (),
    key: Any = KEY,
    edit: Callable[[str], str] = str,
) -> list[Any]:
    """The outputs of a program without calls, one spelled operation after the other, on values of the framework."""
    names = namespace(framework) | {"b": batch, "key": key}
    for (_, value), given in zip(program.inputs, inputs, strict=True):
        names[f"v{value.id}"] = given
    for op in program.ops:
        if op.name == "weight":
            names[f"v{op.results[0].id}"] = weights[op.attrs["slot"]]
            continue
        text = spell(op, framework, [_text(operand) for operand in op.operands], "key")
        result = eval(edit(text), names)
        results = result if len(op.results) > 1 else (result,)
        names |= {f"v{value.id}": item for value, item in zip(op.results, results, strict=True)}
    return [eval(_text(value), names) for _, value in program.outputs]


def run_compiled(
    program: Sub, inputs: Sequence[Any], batch: int, weights: Sequence[Any] = (), key: Any = KEY
) -> list[Any]:
    """`run_program` on JAX in one compilation, which is quicker than one for each operation."""
    jax = importlib.import_module("jax")

    def function(inputs: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        return run_program(program, "jax", inputs, batch, weights, key)

    results: list[Any] = jax.jit(function, compiler_options=QUICKLY)(list(inputs), list(weights))
    return results


def _text(operand: Operand) -> str:
    return f"v{operand.id}" if isinstance(operand, Value) else repr(operand.value)


def to_framework(framework: Framework, value: np.ndarray) -> Any:
    if framework == "numpy":
        return value
    if framework == "torch":
        if value.dtype == np.uint32:
            value = value.view(np.int32)
        return importlib.import_module("torch").from_numpy(value.copy())
    return importlib.import_module("jax").numpy.asarray(value)


def to_numpy(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


CASES = load_cases()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    choose: dict[str, Callable[[Case], bool]] = {
        "case": lambda case: True,
        "row_case": lambda case: case.is_row,
        "differentiable_case": lambda case: case.is_differentiable,
    }
    for name, chosen in choose.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [case for case in CASES if chosen(case)], ids=str)


@dataclass(frozen=True)
class Harness:
    """What the tests use to run operations."""

    cases: tuple[Case, ...]

    frameworks = FRAMEWORKS
    batch = BATCH
    run = staticmethod(run_program)
    run_compiled = staticmethod(run_compiled)
    quickly = QUICKLY
    to_framework = staticmethod(to_framework)
    to_numpy = staticmethod(to_numpy)
    namespace = staticmethod(namespace)
    complete = staticmethod(complete)


@pytest.fixture(scope="session")
def harness() -> Harness:
    return Harness(tuple(CASES))
