"""Plan the module of a stage: which classes and functions, what `Models` holds, and the functions of its programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etude.backends.emission.body import Callee, Members, batch_names, write_body
from etude.backends.emission.classes import plan_classes
from etude.backends.emission.dialect import Dialect
from etude.backends.emission.forms import Form, Forms
from etude.backends.emission.imports import function_names, import_lines
from etude.backends.emission.layout import INDENT, WIDTH, double_quoted, fit, indented, quoted
from etude.backends.emission.merging import Merger
from etude.backends.emission.models import Wanted, plan_models
from etude.backends.emission.modules import ALONE, ModuleWriter, attribute_lines, construction
from etude.backends.emission.naming import FUNCTIONS, RESERVED, Scope, variables
from etude.backends.emission.packing import packed_inputs
from etude.backends.emission.precision import lowered
from etude.backends.emission.simplify import simplify
from etude.backends.ops.literals import literal_text
from etude.backends.program.ir import Literal, Operand, StageProgram

ROWS = "rows"
STATE = "@state."


@dataclass(frozen=True)
class Outputs:
    """The body of a program's function: its statements, and an expression for each output by name."""

    lines: list[str]
    values: dict[str, str]


class StageWriter:
    """Writes the parts of a module for the programs of one stage, by the name of their function.

    `evaluation` names the programs whose use of a model is called `evaluate` where it differs from that of the others.
    """

    def __init__(self, dialect: Dialect, programs: Mapping[str, StageProgram], evaluation: Sequence[str] = ()) -> None:
        self.dialect, self.programs = dialect, programs
        forms = Forms(dialect.framework)
        self.roots = {
            name: forms.root(simplify(lowered(program.sub, dialect.precision), dialect.framework))
            for name, program in programs.items()
        }
        self.forms = forms.all
        self.names = Scope({*RESERVED, *FUNCTIONS, *function_names(dialect.framework)})
        uses = [
            use
            for name, program in programs.items()
            for use in zip(self.roots[name].children, program.modules, strict=True)
        ]
        self.plans = plan_classes(self.forms, uses, self.names)
        self.models = plan_models([model for name in programs for model in self._wanted(name)])
        self.called = self._called(evaluation)
        self.packed = packed_inputs(list(self.roots.values()), self.forms)
        self.writer, self.merger = self._written(self._quiet())

    def definitions(self) -> list[list[str]]:
        """Classes and functions in an order in which each stands before its uses; `Models` comes last."""
        blocks = []
        used = {child for form in (*self.roots.values(), *self.forms) for child in form.called_children()}
        for form in self.forms:
            if form not in self.plans:
                blocks += [self.writer.function_lines(form)] if form in used else []
            elif self.plans[form].forms[0] is form and (text := self.merger.left(self.plans[form].name)):
                blocks.append(self.writer.class_lines(text))
        return [*blocks, self._models_class()] if self.models.roots else blocks

    def outputs(self, name: str) -> Outputs:
        """The body of the function of a program: columns are read from `batch`, row ids are `rows`."""
        root = self.roots[name]
        sub = root.sub
        scope = variables({*FUNCTIONS, *self.writer.taken, *batch_names(sub, self.dialect.framework)})
        used = {operand for op in sub.ops for operand in op.operands} | {value for _, value in sub.outputs}
        inputs, columns = [], {}
        for column, value in sub.inputs:
            read, wish = _read(column)
            if is_row_ids(column, value.type.dtype):
                inputs.append(ROWS)
            elif value in used:
                inputs.append(scope.fresh(wish))
                columns[inputs[-1]] = read
            else:
                inputs.append(read)
        members = Members(self.dialect.framework, (), self._callees(name))
        body = write_body(sub, members, inputs, scope)
        lines = _assignments(columns)
        lines += [double_quoted(line) for line in body.lines]
        texts = [double_quoted(text) for text in body.outputs]
        return Outputs(lines, {output: text for (output, _), text in zip(sub.outputs, texts, strict=True)})

    def loss_lines(self, name: str) -> list[str]:
        """A body that ends with the statement for `total`, and the expression of the terms as its last line."""
        outputs = self.outputs(name)
        values = {term: text for term, text in outputs.values.items() if not term.startswith(STATE)}
        if len(values) == 1:
            (total,) = values.values()
            return [*outputs.lines, f"total = {total}", '{"loss": total}']
        lines, terms = list(outputs.lines), {}
        scope = variables({*FUNCTIONS, *self.writer.taken, *(line.partition(" = ")[0] for line in lines)})
        for term, text in values.items():
            variable = text if text.isidentifier() else scope.fresh(term)
            lines += [] if variable == text else [f"{variable} = {text}"]
            terms[term] = variable
        operands = dict(self.roots[name].sub.outputs)
        items = {"loss": "total"} | {
            term: self._constant(operands[term]) or text for term, text in terms.items() if term != "loss"
        }
        return [*lines, f"total = {' + '.join(terms.values())}", record(items)]

    def next_state(self, name: str) -> str:
        """The expression of the state that a loss hands on, to stand after the lines of `loss_lines`."""
        outputs = dict(self.roots[name].sub.outputs)
        values = {
            output.removeprefix(STATE): self._constant(outputs[output]) or text
            for output, text in self.outputs(name).values.items()
            if output.startswith(STATE)
        }
        return record(values)

    def _constant(self, operand: Operand) -> str | None:
        """A number as a tensor on the device of the loss; nothing for what is a tensor already."""
        if not isinstance(operand, Literal):
            return None
        text, dtype = literal_text(operand.value), operand.type.dtype
        if self.dialect.framework == "torch":
            return f"torch.full((), {text}, dtype=torch.{dtype}, device=total.device)"
        return f"jnp.full((), {text}, dtype=jnp.{dtype})"

    def _wanted(self, name: str) -> list[Wanted]:
        root = self.roots[name]
        children = zip(root.sub.children, root.children, self.programs[name].modules, strict=True)
        return [
            Wanted(child.name, self.plans[form], module, child.sub)
            for child, form, module in children
            if form in self.plans
        ]

    def _callees(self, name: str) -> list[Callee]:
        root = self.roots[name]
        callees = []
        for form, module in zip(root.children, self.programs[name].modules, strict=True):
            plan = self.plans.get(form)
            path = None if plan is None else f"models.{self.models.places[plan, module].text}"
            callees.append(self.writer.callee(form, path))
        return callees

    def _called(self, evaluation: Sequence[str]) -> dict[Form, str]:
        """The name of each form: a function's own, or that of a method."""
        evaluated = {form for name in evaluation if name in self.roots for form in self.roots[name].walk()}
        called: dict[Form, str] = {}
        for form in self.forms:
            if form not in self.plans:
                called[form] = self.names.fresh(form.sub.name)
        for plan in dict.fromkeys(self.plans.values()):
            scope = Scope({self.dialect.forward, *plan.slots, *(child.name for child in plan.children if child)})
            for number, form in enumerate(plan.forms):
                wish = "evaluate" if form in evaluated else "forward"
                called[form] = self.dialect.forward if number == 0 else scope.fresh(wish)
        return called

    def _quiet(self) -> set[Form]:
        """What a model that draws elsewhere does without: methods of one class, if only this differs."""
        plans = dict.fromkeys(self.plans.values())
        drawing = {plan.sub.name for plan in plans if plan.sub.is_random}
        return {plan.forms[0] for plan in plans if not plan.sub.is_random and plan.sub.name in drawing}

    def _written(self, quiet: set[Form]) -> tuple[ModuleWriter, Merger]:
        """The writer of classes and functions, and what of its classes is one; `quiet` are called `evaluate`."""
        while True:
            called = self.called | dict.fromkeys(quiet, "evaluate")
            writer = ModuleWriter(self.dialect, self.plans, called, self.packed)
            merger = Merger([writer.class_text(plan) for plan in dict.fromkeys(self.plans.values())])
            alone = {form for form in quiet if not merger.has(self.plans[form].name, self.dialect.forward)}
            if not alone:
                return writer, merger
            quiet = quiet - alone

    def _attributes(self) -> list[str]:
        made: dict[str, list[tuple[int | None, str]]] = {}
        for attribute, model in self.models.roots:
            text = construction(model.plan, model.plan.arguments[id(model.sub)])
            made.setdefault(attribute.name, []).append((attribute.index, text))
        return attribute_lines(made, self.dialect)

    def _models_class(self) -> list[str]:
        lines = list(self.dialect.setup)
        lines += [self.merger.calls(line).replace(ALONE, "") for line in self._attributes()]
        lines += [f"self.{later} = self.{earlier}" for later, earlier in self.models.ties]
        return [
            f"class Models({self.dialect.module}):",
            *indented(['"""The models of the stage."""', "", "def __init__(self) -> None:", *indented(lines)]),
        ]


def _read(column: str) -> tuple[str, str]:
    """How a column, or what is carried from step to step, is read, and what to call it."""
    if column.startswith(STATE):
        name = column.removeprefix(STATE)
        return f"state[{quoted(name)}]", name
    return f"batch[{quoted(column)}]", {"@step": "step_number", "@progress": "progress"}.get(column, column)


def _assignments(values: Mapping[str, str]) -> list[str]:
    """Bind names to expressions, in one statement where it fits into a line of a function."""
    together = f"{', '.join(values)} = {', '.join(values.values())}"
    if len(together) > WIDTH - len(INDENT):
        return [f"{name} = {text}" for name, text in values.items()]
    return [together] if values else []


def is_row_ids(column: str, dtype: str) -> bool:
    """Whether an input of a row program is what draws are keyed by."""
    return column == ROWS and dtype == "uint32"


def record(items: Mapping[str, str]) -> str:
    """A dict of expressions."""
    return "{" + ", ".join(f"{quoted(name)}: {text}" for name, text in items.items()) + "}"


def join_module(doc: str, blocks: Sequence[Sequence[str]], dialect: Dialect) -> str:
    """The text of a module around its definitions."""
    text = "\n".join(line for block in blocks for line in ["", "", *(short for line in block for short in fit(line))])
    imports = "\n".join(import_lines(text, dialect.framework, dialect.random))
    return f'"""{doc}"""\n\n{imports}\n{text}\n'
