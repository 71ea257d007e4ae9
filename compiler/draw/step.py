"""The picture of what a stage computes: models as boxes with their blocks, loss terms, who learns, shapes on arrows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from etude.backends.program.dims import product
from etude.backends.program.ir import Child, Module, Op, Operand, StageProgram, Sub, Value
from etude.backends.program.serialize import program_from_json
from etude.compiler.draw.labels import attributes_text, count_text, operation_tip, operation_title, type_text
from etude.compiler.draw.picture import TIMES, Arrow, Box, Frame, Picture
from etude.compiler.workflow import Stage

Json = Any
DEEPEST = 2  # models inside models inside models are boxes
MOST_INSIDE = 24  # a model of more operations than this is a box
KIND_NAMES = {
    "input": "column",
    "learns": "learns",
    "frozen": "frozen",
    "model": "without weights",
    "operation": "operation",
    "loss": "loss",
    "optimizer": "update",
}


class NoProgramError(Exception):
    """A stage of this kind has no tensor program to draw."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(f"stage `{stage.name}` is a {stage.kind}: it has no tensor program to draw")
        self.stage = stage


def step_picture(stage: Stage) -> Picture:
    """Draw the training step of a `train` stage, or the row program of another one. Raises NoProgramError."""
    parts = list(_parts(stage))
    if not parts:
        raise NoProgramError(stage)
    drawing = _Drawing()
    for name, program, update, note in parts:
        drawing.add_program(name if len(parts) > 1 else "", program, update, note)
    read = {arrow.source for arrow in drawing.arrows}
    boxes = tuple(box for box in drawing.boxes if box.kind != "input" or box.id in read)
    kinds = dict.fromkeys(box.state or box.kind for box in boxes)
    kinds |= dict.fromkeys(frame.kind for frame in drawing.frames if frame.kind in KIND_NAMES)
    return Picture(
        title=f"{stage.name} · {stage.kind}",
        boxes=boxes,
        arrows=tuple(drawing.arrows),
        frames=tuple(drawing.frames),
        kinds={kind: KIND_NAMES[kind] for kind in kinds},
    )


def _parts(stage: Stage) -> Iterator[tuple[str, StageProgram, frozenset[int], str]]:
    """(name, program, indices of the weights that learn, what updates them)."""
    for position, step in enumerate(stage.spec.get("steps", ())):
        note = _optimizer_text(step["optimizer"])
        yield f"step {position + 1}", program_from_json(step["loss"]), frozenset(step["update"]), note
    if "program" in stage.spec:
        yield stage.name, program_from_json(stage.spec["program"]), frozenset(), ""


def _optimizer_text(optimizer: dict[str, Json]) -> str:
    numbers = [f"{key} {value:g}" for key, value in optimizer.items() if isinstance(value, int | float)]
    return " · ".join([str(optimizer["name"]), *numbers])


def parameter_count(sub: Sub) -> int:
    """The number of weights of a model and all in it, each use of a part once; running statistics aside."""
    own = [product(slot.type.shape) for slot in sub.slots if not slot.running]
    return sum(size for size in own if isinstance(size, int)) + sum(parameter_count(c.sub) for c in sub.children)


def module_slots(module: Module) -> Iterator[int]:
    """The stage's indices of all weights of a model."""
    yield from module.slots
    for child in module.children:
        yield from module_slots(child)


@dataclass
class _Drawing:
    """The picture while it is made. A scope maps the values of a sub-program to (box, type) that they come from."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    update: frozenset[int] = frozenset()
    weights: set[str] = field(default_factory=set)  # boxes of models whose weights are read

    def add_program(self, name: str, program: StageProgram, update: frozenset[int], note: str) -> None:
        self.update = update
        path = (name,) if name else ()
        if name:
            self.frames.append(Frame(path=path, title=name))
        scope: dict[int, str] = {}
        for column, value in program.sub.inputs:
            scope[value.id] = self.box(path, title=column, kind="input", note=type_text(value.type))
        self.add_ops(program.sub, Module((), program.modules), path, scope, 0)
        is_loss = bool(note)
        sinks = [self.add_output(path, name, value, scope, is_loss) for name, value in program.sub.outputs]
        if is_loss:
            self.add_optimizer(path, program, note, sinks)

    def add_optimizer(self, path: tuple[str, ...], program: StageProgram, note: str, losses: list[str]) -> None:
        models = zip(program.sub.children, program.modules, strict=True)
        names = [child.name for child, module in models if self.state(module) == "learns"]
        learned = {slot for module in program.modules for slot in module_slots(module)} & self.update
        note = f"{note} · {len(learned)} tensors"
        id = self.box(path, title=f"update {', '.join(names)}", kind="optimizer", note=note)
        self.arrows += [Arrow(source=loss, target=id, type="gradients") for loss in losses]

    def box(self, path: tuple[str, ...], *, title: str, kind: str, **rest: str) -> str:
        id = f"v{len(self.boxes)}"
        self.boxes.append(Box(id=id, title=title, kind=kind, frame=path, **rest))  # type: ignore[arg-type]
        return id

    def connect(self, operands: tuple[Operand, ...], target: str, scope: dict[int, str], drop: str = "") -> None:
        """Arrows from where the operands were made; inputs say their shape in their box, models are drawn once."""
        models: set[str] = set()
        for operand in operands:
            if not isinstance(operand, Value) or operand.id not in scope:
                continue
            source, text, full = scope[operand.id], type_text(operand.type), str(operand.type)
            if source in self.weights:
                if source in models:
                    continue
                models.add(source)
                text = full = "weights"
            self.arrows.append(Arrow(source=source, target=target, type=text, full_type=full))

    def state(self, module: Module) -> str:
        """Whether a model learns in this step, is frozen, or ("") has no weights."""
        slots = set(module_slots(module))
        return "" if not slots else "learns" if slots & self.update else "frozen"

    def add_output(
        self, path: tuple[str, ...], name: str, operand: Operand, scope: dict[int, str], is_loss: bool
    ) -> str:
        title = name or ("loss" if is_loss else "result")
        id = self.box(path, title=title, kind="loss", note=type_text(operand.type))
        self.connect((operand,), id, scope)
        return id

    def add_ops(self, sub: Sub, module: Module, path: tuple[str, ...], scope: dict[int, str], depth: int) -> None:
        """Draw the operations of a sub-program into the frame at `path`; fill `scope` with what they make."""
        uses = _uses(sub)
        called: set[int] = set()
        read: dict[int, str] = {}
        written: dict[int, str] = {}
        skip: set[int] = set()
        for position, op in enumerate(sub.ops):
            if op.name in {"weight", "key"} or position in skip:
                continue
            if op.name == "write":
                self.connect(op.operands, self.statistics_box(sub, op, path, written), scope)
                continue
            if op.name == "read":
                scope[op.results[0].id] = self.weights_box(sub, module, op, path, read)
                continue
            if op.name != "call":
                id = self.box(
                    path,
                    title=operation_title(op),
                    kind="operation",
                    note=attributes_text(op),
                    tip=operation_tip(sub, op),
                )
                self.connect(op.operands, id, scope)
                scope |= {result.id: id for result in op.results}
                continue
            run = _run(sub, position, uses)
            skip |= set(run)
            self.add_call(sub, module, [sub.ops[i] for i in run], path, scope, depth, called)

    def weights_box(self, sub: Sub, module: Module, op: Op, path: tuple[str, ...], read: dict[int, str]) -> str:
        """One box for the weights of a model that are read one by one."""
        place = op.attrs["child"]
        if place not in read:
            child, inner = sub.children[place], module.children[place]
            note = f"{count_text(parameter_count(child.sub))} weights"
            state = self.state(inner)
            read[place] = id = self.box(path, title=child.name, kind="model", note=note, state=state, tip=child.sub.doc)
            self.weights.add(id)
        return read[place]

    def statistics_box(self, sub: Sub, op: Op, path: tuple[str, ...], written: dict[int, str]) -> str:
        """One box for the statistics of a model that calls inside of a function have moved."""
        place = op.attrs["child"]
        if place not in written:
            title = f"statistics of {sub.children[place].name}"
            written[place] = self.box(path, title=title, kind="operation", note="move")
        return written[place]

    def add_call(
        self,
        sub: Sub,
        module: Module,
        calls: list[Op],
        path: tuple[str, ...],
        scope: dict[int, str],
        depth: int,
        called: set[int],
    ) -> None:
        """Draw a model, or a run of equal ones, as a frame with its blocks or as one box."""
        index = calls[0].attrs["child"]
        child, inner = sub.children[index], module.children[index]
        again = index in called
        called.add(index)
        if len(calls) == 1 and not again and depth < DEEPEST and _is_composite(child.sub):
            self.add_frame(child, inner, calls[0], path, scope, depth)
            return
        size = sum(parameter_count(sub.children[call.attrs["child"]].sub) for call in calls)
        note = "the same weights" if again else f"{count_text(size)} weights" if size else ""
        title = child.name if len(calls) == 1 else child.sub.name
        badge = f"{TIMES}{len(calls)}" if len(calls) > 1 else ""
        id = self.box(
            path, title=title, kind="model", note=note, badge=badge, state=self.state(inner), tip=child.sub.doc
        )
        self.connect(calls[0].operands, id, scope)
        scope |= {result.id: id for result in calls[-1].results}

    def add_frame(
        self, child: Child, module: Module, call: Op, path: tuple[str, ...], scope: dict[int, str], depth: int
    ) -> None:
        state = self.state(module)
        size = parameter_count(child.sub)
        inside = (*path, f"{child.name} {len(self.frames)}")
        note = " · ".join(part for part in (state, f"{count_text(size)} weights" if size else "") if part)
        self.frames.append(Frame(path=inside, title=child.name, kind=state or "group", state=note))
        local: dict[int, str] = {}
        for (_, value), operand in zip(child.sub.inputs, call.operands, strict=True):
            if isinstance(operand, Value) and operand.id in scope:
                local[value.id] = scope[operand.id]
        self.add_ops(child.sub, module, inside, local, depth + 1)
        for (_, operand), result in zip(child.sub.outputs, call.results, strict=True):
            if isinstance(operand, Value) and operand.id in local:
                scope[result.id] = local[operand.id]


def _is_composite(sub: Sub) -> bool:
    """Whether a look inside is worth it: it calls other models, and is not too large for a figure."""
    shown = [op for op in sub.ops if op.name != "weight"]
    return any(op.name == "call" for op in shown) and len(shown) <= MOST_INSIDE


def _uses(sub: Sub) -> dict[int, int]:
    """How often each value is used."""
    uses: dict[int, int] = {}
    operands = [operand for op in sub.ops for operand in op.operands] + [operand for _, operand in sub.outputs]
    for operand in operands:
        if isinstance(operand, Value):
            uses[operand.id] = uses.get(operand.id, 0) + 1
    return uses


def _run(sub: Sub, start: int, uses: dict[int, int]) -> list[int]:
    """The positions of calls of equal models from `start` on, each fed by nothing but the one before."""
    run = [start]
    for position in range(start + 1, len(sub.ops)):
        last, op = sub.ops[run[-1]], sub.ops[position]
        if op.name == "weight":
            continue
        model = sub.children[last.attrs["child"]].sub
        follows = op.name == "call" and op.attrs["child"] != last.attrs["child"] and op.operands[:1] == last.results[:1]
        if not follows or uses[last.results[0].id] != 1 or sub.children[op.attrs["child"]].sub != model:
            break
        run.append(position)
    return run
