"""What `etude check --show` prints: the result of each phase of the compiler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.render.ansi import Paint
from etude.grammar.nodes import Node
from etude.runtime.cli.faults import UsageError
from etude.runtime.cli.selection import select_stages

if TYPE_CHECKING:
    from etude.backends.program.ir import StageProgram
    from etude.compiler.ownership import Player, Weights
    from etude.compiler.pipeline import Compilation
    from etude.compiler.values import Model
    from etude.compiler.workflow import Stage, Workflow

Json = Any


@dataclasses.dataclass(frozen=True)
class View:
    """What to show, of which stages, for which backend, in which colours."""

    compilation: Compilation
    pattern: str
    backend: str
    paint: Paint

    @property
    def workflow(self) -> Workflow:
        assert self.compilation.workflow is not None, "only recipes without errors are shown"
        return self.compilation.workflow

    def stages(self) -> list[Stage]:
        return select_stages(self.workflow, self.pattern)

    def players(self, stage: Stage) -> list[Player]:
        """The players of a training, with the weights as they are for each."""
        from etude.compiler.ownership import players_of

        assert self.compilation.recipe is not None
        return players_of(self.compilation.recipe.session, self.workflow, stage)


def show(name: str, compilation: Compilation, pattern: str, backend: str, paint: Paint) -> str:
    """The text of one view."""
    return VIEWS[name](View(compilation, pattern, backend, paint))


def show_tree(view: View) -> str:
    """The syntax tree, a line for each node."""
    return "".join(f"{line}\n" for line in _tree_lines(view.compilation.program, "", ""))


def _tree_lines(node: Any, label: str, indent: str) -> Iterator[str]:
    lead = f"{indent}{label}: " if label else indent
    if isinstance(node, tuple) and node:
        yield f"{lead}".rstrip()
        for item in node:
            yield from _tree_lines(item, "", indent + "  ")
    elif isinstance(node, Node):
        parts = {name: getattr(node, name) for name in node.__struct_fields__ if "span" not in name}
        plain = {name: part for name, part in parts.items() if _is_plain(part)}
        shown = ", ".join(f"{name}={part!r}" for name, part in plain.items() if part not in (None, ()))
        yield f"{lead}{type(node).__name__}({shown})"
        for name, part in parts.items():
            if name not in plain:
                yield from _tree_lines(part, name, indent + "  ")
    else:
        yield f"{lead}{node!r}"


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Node) and not (isinstance(value, tuple) and value)


def show_types(view: View) -> str:
    """What each name at the top level is."""
    assert view.compilation.recipe is not None
    values = view.compilation.recipe.values
    width = max(map(len, values), default=0)
    rows = ((name, _type_text(view, value)) for name, value in values.items())
    return "".join(f"{view.paint(f'{name:<{width}}', 'bold')}  {text}\n" for name, text in rows)


def _type_text(view: View, value: Any) -> str:
    from etude.compiler.values import Dataset, Model, Record, Tree, describe

    if isinstance(value, Dataset):
        return str(value)
    if isinstance(value, Tree):
        return (
            f"a tree: {', '.join(f'{path} {leaf.type}' for path, leaf in zip(value.paths, value.leaves, strict=True))}"
        )
    if isinstance(value, Model):
        return _model_text(view, value)
    if isinstance(value, Record):
        return "{" + ", ".join(f"{name}: {_type_text(view, item)}" for name, item in value.fields.items()) + "}"
    if isinstance(value, list) and value:
        kinds = dict.fromkeys(_type_text(view, item) for item in value)
        return f"list of {len(value)}: {next(iter(kinds)) if len(kinds) == 1 else 'of different types'}"
    return describe(value)


def _model_text(view: View, model: Model) -> str:
    """A model with the types that it was last called on and gave, if it was; of a chain those of its parts."""
    from etude.compiler.models import traced_model
    from etude.compiler.values import Chain, describe

    assert view.compilation.recipe is not None
    traced = traced_model(view.compilation.recipe.session, model)
    if traced is not None:
        inputs, outputs = ([str(value.type) for _, value in ports] for ports in (traced.sub.inputs, traced.sub.outputs))
        given = outputs[0] if len(outputs) == 1 else f"({', '.join(outputs)})"
        return f"{describe(model)}: {', '.join(inputs)} -> {given}"
    if isinstance(model, Chain) and not model.is_list:
        return f"a chain of {', '.join(_part_text(view, part) for part in model.parts)}"
    return describe(model)


def _part_text(view: View, part: Any) -> str:
    """A part of a chain: a model by its name with its types, or a function."""
    from etude.compiler.instances import model_name
    from etude.compiler.values import Model, OperationValue

    if not isinstance(part, Model):
        return part.name if isinstance(part, OperationValue) else "a function"
    return f"{model_name(part)}{_model_text(view, part).removeprefix('a model')}"


def show_weights(view: View) -> str:
    """Who learns and who is frozen in each training, at which value and why; repeated trainings once."""
    lines: list[str] = []
    for stage, count in _trainings(view):
        players = view.players(stage)
        repeated = f" and {count - 1} more like it" if count > 1 else ""
        for position, player in enumerate(players):
            several = f", step {position + 1}: {player.name}" if len(players) > 1 else ""
            lines += [view.paint(stage.name, "bold") + several + repeated, *_weight_lines(view, player)]
    return "".join(f"{line}\n" for line in lines)


def _trainings(view: View) -> list[tuple[Stage, int]]:
    """The trainings that are meant, each with how many there are like it."""
    from etude.compiler.draw.repeats import repeat_classes

    classes = repeat_classes(view.workflow)
    counts: dict[str, int] = {}
    for stage in view.stages():
        counts[classes[stage.id]] = counts.get(classes[stage.id], 0) + 1
    return [(view.workflow.stages[id], count) for id, count in counts.items()]


def _weight_lines(view: View, player: Player) -> Iterator[str]:
    """A line for the weights of one model that have one lot."""
    cells = [(row.state, row.model, _size_text(row), row.value, f"{row.why}{_way_text(row)}") for row in player.weights]
    widths = [max(map(len, column), default=0) for column in zip(*cells, strict=True)][:-1]
    for state, *texts, why in cells:
        padded = "  ".join(f"{text:<{width}}" for text, width in zip(texts, widths[1:], strict=True))
        colour = "yellow" if state == "learns" else "blue"
        yield f"  {view.paint(f'{state:<{widths[0]}}', colour)}  {padded}  {why}"


def _size_text(row: Weights) -> str:
    return f"{row.tensors} tensor{'s' * (row.tensors != 1)}, {row.numbers:,} numbers"


def _way_text(row: Weights) -> str:
    """The models that the loss calls to reach the weights, where it is not only the one that they are named after."""
    others = [way for way in row.ways if way != row.model]
    return f"; called as {', '.join(row.ways)}" if others else ""


def show_graph(view: View) -> str:
    """The stages as a tree."""
    from etude.compiler.draw.tree import picture_to_tree
    from etude.compiler.draw.workflow import workflow_picture

    return picture_to_tree(workflow_picture(view.workflow), view.paint)


def show_program(view: View) -> str:
    """The tensor programs of the stages."""
    from etude.compiler.draw.listing import list_program

    parts = []
    for stage, name, program in _programs(view):
        heading = view.paint(f"# {stage.name}: {name}", "green")
        parts.append(f"{heading}\n{list_program(program, view.paint)}")
    return "\n".join(parts)


def _programs(view: View) -> Iterator[tuple[Stage, str, StageProgram]]:
    """Every distinct program of the stages that are meant, once."""
    from etude.backends.program.serialize import program_from_json

    seen: set[str] = set()
    for stage in view.stages():
        for name, data in _programs_of(stage):
            if data["digest"] not in seen:
                seen.add(data["digest"])
                yield stage, name, program_from_json(data)


def _programs_of(stage: Stage) -> Iterator[tuple[str, Json]]:
    for position, step in enumerate(stage.spec.get("steps", ())):
        yield f"loss {position + 1}" if len(stage.spec["steps"]) > 1 else "loss", step["loss"]
    valid = stage.spec.get("valid") or {}
    for name in ("loss", "scores"):
        if valid.get(name):
            yield f"validation {name}", valid[name]
    if "program" in stage.spec:
        yield "each row", stage.spec["program"]


def show_source(view: View) -> str:
    """The Python source that the stages become, each distinct one once."""
    import importlib

    emit = importlib.import_module(f"etude.backends.{view.backend}.emit")
    texts: dict[str, str] = {}
    for stage in view.stages():
        if "steps" in stage.spec:
            texts.setdefault(emit.emit_train(stage.spec).source, stage.name)
        elif "program" in stage.spec:
            texts.setdefault(emit.emit_rows(stage.spec).source, stage.name)
    if not texts:
        raise UsageError(f"no stage called '{view.pattern}' has a tensor program")
    return "\n\n".join(view.paint(f"# --- {name} ---", "green") + f"\n{text}" for text, name in texts.items())


def show_plan(view: View) -> str:
    """The plan, as `etude plan` prints it."""
    from etude.runtime.cli.execution import DEFAULT_STORE, settings_for, store_to_read
    from etude.runtime.cli.plans import make_plan, plan_to_text
    from etude.runtime.targets import Target

    target = Target(name="cpu", backend=view.backend)
    with store_to_read(DEFAULT_STORE) as store:
        base = Path(view.compilation.source.name).parent
        plan = make_plan(view.workflow, target, settings_for(target), store, base)
    return plan_to_text(plan, view.paint)


VIEWS: dict[str, Callable[[View], str]] = {
    "tree": show_tree,
    "types": show_types,
    "weights": show_weights,
    "graph": show_graph,
    "program": show_program,
    "plan": show_plan,
    "source": show_source,
}
