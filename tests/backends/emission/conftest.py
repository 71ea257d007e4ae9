"""Small models and stages, built operation by operation, and what runs their emitted source."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from etude.backends.emission import Emitted
from etude.backends.ops import find
from etude.backends.program.builder import Builder
from etude.backends.program.dims import Dim, b
from etude.backends.program.ir import Child, Literal, Module, Operand, Slot, StageProgram, Sub, Value
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType

Spec = dict[str, Any]
ADAMW = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8}
GOLDEN = Path(__file__).parent / "golden"


def floats(*shape: Dim) -> TensorType:
    return TensorType("float32", shape)


class Model(Builder):
    """A builder that fills in the defaults of attributes and names values by the way."""

    def do(self, name: str, *operands: Operand, called: str | None = None, **attributes: Any) -> Value:
        """Append an operation with one result."""
        results = self.apply(name, operands, _complete(name, len(operands), attributes))
        return self.named(results[0], called)

    def named(self, value: Value, name: str | None) -> Value:
        if name:
            self.names[value.id] = name
        return value

    def own(self, name: str, *shape: int, init: str = "zeros") -> Value:
        """A new weight."""
        return self.named(self.weight(Slot(name, floats(*shape), (("kind", init),))), name)

    def run(self, name: str, sub: Sub, *operands: Operand, called: str | None = None, batch: Dim = b) -> Value:
        """Call a child by its name, which is added at its first use."""
        names = [child.name for child in self.children]
        if name not in names:
            self.children.append(Child(name, sub))
        index = [child.name for child in self.children].index(name)
        types = [value.type.at_batch(batch) for _, value in sub.outputs]
        return self.named(self.call(index, operands, types)[0], called)

    def done(self, *values: Operand, **named: Operand) -> Sub:
        return self.build([*(("", value) for value in values), *named.items()])


def _complete(name: str, count: int, given: dict[str, Any]) -> dict[str, Any]:
    operation = find(name)
    assert operation is not None
    attributes = {p.name: _default(p.default) for p in operation.attribute_parameters if p.default is not None}
    if any(p.default is not None for p in operation.operand_parameters):
        attributes["has"] = tuple(p.name for p in operation.operand_parameters[:count])
    return attributes | given


def _default(text: str) -> Any:
    return ast.literal_eval({"none": "None", "true": "True", "false": "False"}.get(text, text))


# --- models --------------------------------------------------------------------------------------


def linear(inputs: int, outputs: int, *between: int) -> Sub:
    model = Model("linear", doc=f"linear(out={outputs})")
    x = model.input("x", floats(b, *between, inputs))
    w = model.own("w", inputs, outputs, init="lecun_normal")
    return model.done(model.do("add", model.do("matmul", x, w), model.own("b", outputs)))


def mlp(inputs: int, widths: Sequence[int], *between: int, act: str = "relu", dropout: float = 0.0) -> Sub:
    model = Model("mlp", doc=f"mlp(widths={list(widths)}, act={act})")
    x = model.input("x", floats(b, *between, inputs))
    for index, width in enumerate(widths):
        x = model.run(f"layers.{index}", linear(inputs, width, *between), x)
        if index < len(widths) - 1:
            x = model.do(act, x)
            x = model.do("dropout", x, rate=dropout) if dropout else x
        inputs = width
    return model.done(x)


def conv2d(inputs: int, outputs: int, kernel: int, stride: int, size: int) -> Sub:
    model = Model("conv2d", doc=f"conv2d(out={outputs}, kernel={kernel})")
    x = model.input("x", floats(b, size, size, inputs))
    w = model.own("w", kernel, kernel, inputs, outputs, init="he_normal")
    y = model.do("conv", x, w, stride=stride, called="y")
    return model.done(model.do("add", y, model.own("b", outputs)))


def convnet(widths: Sequence[int] = (4, 8), out: int = 16, size: int = 8) -> Sub:
    model = Model("convnet", doc=f"convnet(widths={list(widths)}, out={out})")
    x, inputs = model.input("image", floats(b, size, size, 1)), 1
    for index, width in enumerate(widths):
        y = model.run(f"convs.{index}", conv2d(inputs, width, 3, 1, size), x)
        x, inputs, size = model.do("max_pool", model.do("relu", y), size=2), width, size // 2
    flat = model.do("flatten", model.named(x, "features"), called="flat")
    return model.done(model.do("relu", model.run("linear", linear(size * size * inputs, out), flat)))


def layer_norm(dim: int, *between: int) -> Sub:
    model = Model("layer_norm", doc="layer_norm(eps=1e-05)")
    x = model.input("x", floats(b, *between, dim))
    scaled = model.do("mul", model.do("standardize", x), model.own("scale", dim, init="ones"))
    return model.done(model.do("add", scaled, model.own("shift", dim)))


def self_attention(dim: int, heads: int, tokens: int) -> Sub:
    model = Model("self_attention", doc=f"self_attention(heads={heads})")
    x = model.input("x", floats(b, tokens, dim))
    combined = model.run("linear", linear(dim, 3 * dim, tokens), x, called="combined")
    sizes = (("n", 3), ("h", heads))
    parts = model.do("rearrange", combined, pattern="b t (n h d) -> n b h t d", sizes=sizes, called="parts")
    q, k, v = (model.do("slice", parts, items=(("index", i),)) for i in range(3))
    mixed = model.do("attention", q, k, v, called="mixed")
    joined = model.do("rearrange", mixed, pattern="b h t d -> b t (h d)", sizes=())
    return model.done(model.run("linear_2", linear(dim, dim, tokens), joined))


def block(dim: int, heads: int, tokens: int) -> Sub:
    model = Model("block", doc=f"block(heads={heads}, ratio=4)")
    x = model.input("x", floats(b, tokens, dim))
    normed = model.run("layer_norm", layer_norm(dim, tokens), x)
    a = model.do("add", x, model.run("self_attention", self_attention(dim, heads, tokens), normed), called="a")
    normed = model.run("layer_norm_2", layer_norm(dim, tokens), a)
    return model.done(model.do("add", a, model.run("mlp", mlp(dim, [4 * dim, dim], tokens, act="gelu"), normed)))


def tiny_vit(depth: int = 2, dim: int = 16, heads: int = 2, patch: int = 4, size: int = 8) -> Sub:
    model = Model("tiny_vit", doc=f"tiny_vit(depth={depth}, dim={dim}, heads={heads}, patch={patch})")
    image = model.input("image", floats(b, size, size, 1))
    grid = model.run("patches", conv2d(1, dim, patch, patch, size), image, called="grid")
    tokens = (size // patch) ** 2
    flat = model.do("rearrange", grid, pattern="b h w d -> b (h w) d", sizes=(), called="tokens")
    x = model.do("add", flat, model.own("position", tokens, dim, init="normal"))
    repeated = block(dim, heads, tokens)
    for index in range(depth):
        x = model.run(f"blocks.{index}", repeated, x)
    return model.done(model.do("mean", model.run("layer_norm", layer_norm(dim, tokens), x), axis=1))


# --- stages --------------------------------------------------------------------------------------


@dataclass
class Slots:
    """The slot table of a stage."""

    entries: list[Spec] = field(default_factory=list)

    def module(self, sub: Sub, path: str) -> Module:
        """New slots for all weights of `sub`."""
        own = []
        for slot in sub.slots:
            own.append(len(self.entries))
            entry = {"shape": list(slot.type.shape), "dtype": "float32", "path": f"{path}.{slot.name}"}
            self.entries.append(entry | {"init": dict(slot.init)})
        return Module(tuple(own), tuple(self.module(child.sub, f"{path}.{child.name}") for child in sub.children))

    def values(self, seed: int = 0) -> list[np.ndarray]:
        """Numbers for all slots."""
        generator = np.random.default_rng(seed)
        return [generator.normal(scale=0.3, size=entry["shape"]).astype(np.float32) for entry in self.entries]


def train_spec(loss: Sub, modules: Sequence[Module], slots: Slots, **settings: Any) -> Spec:
    """A train stage that updates all weights, unless `update` says otherwise."""
    program = program_to_json(StageProgram(loss, tuple(modules)))
    update = settings.pop("update", list(range(len(slots.entries))))
    optimizer = settings.pop("optimizer", ADAMW)
    step = {"loss": program, "update": update, "optimizer": optimizer, "every": 1}
    return {"steps": [step], "slots": slots.entries, "names": [], "clip": None, "valid": None} | settings


def classifier(parts: Mapping[str, Sub], *shape: int, valid: bool = True, **settings: Any) -> Spec:
    """Train a chain of models on cross-entropy."""
    slots = Slots()
    modules = [slots.module(sub, name) for name, sub in parts.items()]
    loss, scores = Model("loss"), Model("scores")
    programs = []
    for model in (loss, scores):
        x, label = model.input("image", floats(b, *shape)), model.input("label", TensorType("int32", (b,)))
        for name, sub in parts.items():
            x = model.run(name, sub, x)
        programs.append((x, label))
    program = loss.done(loss.do("cross_entropy", *programs[0]))
    if valid:
        rows = row_scores(parts, *shape)
        evaluation = {"loss": program_to_json(StageProgram(program, tuple(modules)))}
        evaluation["scores"] = program_to_json(StageProgram(rows, tuple(modules)))
        settings |= {"valid": evaluation}
    return train_spec(program, modules, slots, names=[[name, []] for name in parts], **settings)


def row_scores(parts: Mapping[str, Sub], *shape: int) -> Sub:
    """A row program: whether a chain of models is right about a row."""
    model = Model("scores")
    x, label = model.input("image", floats(*shape)), model.input("label", TensorType("int32"))
    for name, sub in parts.items():
        model.children.append(Child(name, sub))
        types = [TensorType(value.type.dtype, value.type.shape[1:]) for _, value in sub.outputs]
        (x,) = model.call(len(model.children) - 1, [x], types, rows=True)
    return model.done(accuracy=model.do("eq", model.do("argmax", x), label))


def images(rows: int, *shape: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 10, rows).astype(np.int32)
    return {"image": generator.normal(size=(rows, *shape)).astype(np.float32), "label": label}


# --- running -------------------------------------------------------------------------------------


def execute(emitted: Emitted, **names: Any) -> ModuleType:
    """The emitted source as a module, in which `names` are known already."""
    module = ModuleType("emitted")
    vars(module).update(names)
    exec(compile(emitted.source, "<emitted>", "exec", dont_inherit=True), module.__dict__)
    return module


@dataclass
class TorchRun:
    """An emitted PyTorch module with weights, on numpy values."""

    emitted: Emitted
    values: Sequence[np.ndarray]

    def __post_init__(self) -> None:
        self.torch = importlib.import_module("torch")
        self.module = execute(self.emitted)
        self.models = self.module.Models()
        with self.torch.no_grad():
            for slot, path in self.emitted.slots:
                self.models.get_parameter(path).copy_(self.torch.tensor(self.values[slot]))

    def tensors(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: self.torch.tensor(column) for name, column in batch.items()}

    def loss(self, batch: Mapping[str, np.ndarray], key: int = 7) -> tuple[float, dict[int, np.ndarray]]:
        """The loss and the gradient of each slot."""
        total, _ = self.module.loss(self.models, self.tensors(batch), key)
        total.backward()
        found = {slot: self.models.get_parameter(path).grad for slot, path in reversed(self.emitted.slots)}
        return float(total.detach()), {slot: grad.numpy() for slot, grad in found.items() if grad is not None}

    def steps(self, batch: Mapping[str, np.ndarray], count: int, lr: Any = 1e-2) -> list[dict[str, float]]:
        optimizer = self.module.optimizers(self.models)
        history = []
        for step in range(count):
            terms = self.module.step(self.models, optimizer, self.tensors(batch), step, lr)
            history.append({name: float(term) for name, term in terms.items()})
        return history

    def weights(self) -> dict[int, np.ndarray]:
        return {slot: self.models.get_parameter(path).detach().numpy() for slot, path in reversed(self.emitted.slots)}


@dataclass
class JaxRun:
    """An emitted JAX module with weights, on numpy values."""

    emitted: Emitted
    values: Sequence[np.ndarray]
    update: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.jax = importlib.import_module("jax")
        self.module = execute(self.emitted)
        self.paths = dict(reversed(self.emitted.slots))
        weights = {slot: self.jax.numpy.array(self.values[slot]) for slot in self.paths}
        learns = set(self.paths if self.update is None else self.update)
        self.params = {self.paths[slot]: weights[slot] for slot in self.paths if slot in learns}
        self.rest = {self.paths[slot]: weights[slot] for slot in self.paths if slot not in learns}

    def loss(self, batch: Mapping[str, np.ndarray], key: int = 7) -> tuple[float, dict[int, np.ndarray]]:
        """The loss and the gradient of each slot."""

        def total(params: Any) -> Any:
            return self.module.loss(self.module.build(params, self.rest), dict(batch), np.uint32(key))[0]

        value, grads = self.jax.value_and_grad(total)(self.params)
        slots = {path: slot for slot, path in self.paths.items()}
        return float(value), {slots[path]: np.asarray(grad) for path, grad in grads.items()}

    def steps(self, batch: Mapping[str, np.ndarray], count: int, lr: Any = 1e-2) -> list[dict[str, float]]:
        state = self.module.init(self.params)
        data = {name: self.jax.numpy.array(column) for name, column in batch.items()}
        index = np.arange(len(next(iter(batch.values()))), dtype=np.int32)
        history = []
        for step in range(count):
            self.params, state, terms = self.module.step(
                self.params, self.rest, state, data, index, np.uint32(step), lr
            )
            history.append({name: float(term) for name, term in terms.items()})
        return history

    def weights(self) -> dict[int, np.ndarray]:
        found = self.params | self.rest
        return {slot: np.asarray(found[path]) for slot, path in self.paths.items()}


@dataclass(frozen=True)
class Kit:
    """What the tests of this folder share."""

    Model = Model
    Slots = Slots
    TorchRun = TorchRun
    JaxRun = JaxRun
    golden = GOLDEN
    floats = staticmethod(floats)
    linear = staticmethod(linear)
    mlp = staticmethod(mlp)
    convnet = staticmethod(convnet)
    layer_norm = staticmethod(layer_norm)
    tiny_vit = staticmethod(tiny_vit)
    train_spec = staticmethod(train_spec)
    classifier = staticmethod(classifier)
    images = staticmethod(images)
    execute = staticmethod(execute)
    literal = staticmethod(Literal)

    @staticmethod
    def values(spec: Spec, seed: int = 0) -> list[np.ndarray]:
        return Slots(spec["slots"]).values(seed)

    @staticmethod
    def emit(framework: str, spec: Spec) -> Emitted:
        module = importlib.import_module(f"etude.backends.{framework}.emit")
        emitted: Emitted = module.emit_train(spec) if "steps" in spec else module.emit_rows(spec)
        return emitted

    @classmethod
    def both(cls, spec: Spec, seed: int = 0) -> tuple[TorchRun, JaxRun]:
        """The stage on both frameworks, from the same weights."""
        values = cls.values(spec, seed)
        update = sorted({slot for step in spec["steps"] for slot in step["update"]})
        return TorchRun(cls.emit("torch", spec), values), JaxRun(cls.emit("jax", spec), values, update)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
