"""The top level of a recipe: order-free bindings, parameters, claims and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field

from etude.backends.program.dims import evaluate
from etude.compiler import claim_faults, faults
from etude.compiler.builtins import library_names
from etude.compiler.builtins.data import add_stage
from etude.compiler.builtins.reporting import compute, shown, with_inputs
from etude.compiler.calls import CallSite
from etude.compiler.checks.names import check_names, names_in
from etude.compiler.claims import claim_parts
from etude.compiler.diagnostics import Diagnostics, Location, Source
from etude.compiler.elaborate import Evaluator
from etude.compiler.ends import end_stages
from etude.compiler.instances import slot_of
from etude.compiler.models import model_origins
from etude.compiler.modules import Library, alias_place, define
from etude.compiler.params import param_value
from etude.compiler.passed_over import without_passed_over
from etude.compiler.results_named import with_results_named
from etude.compiler.schema import SourceSchema
from etude.compiler.scopes import Lazy, Scope
from etude.compiler.session import Session
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.train_results import with_wanted_ports
from etude.compiler.values import (
    POISON,
    Chain,
    Dataset,
    Deferred,
    Model,
    Quantity,
    Record,
    Trained,
    Wrapper,
    describe,
)
from etude.compiler.weight_paths import held_values, named_weights
from etude.compiler.workflow import Claim, ModelBinding, Ref, Workflow
from etude.grammar import nodes

__all__ = ["Recipe"]

MAX_WAITING = 20
"""Bindings that wait for one another before what they wait for is looked for in another way."""
DEEP = "this is nested too deep to be expanded"
DEEP_HELP = "give the inner parts names of their own"


class Recipe(Struct, dict=True):
    """One file being evaluated."""

    source: Source
    program: nodes.Program
    describe_source: Callable[[str, Mapping[str, Any]], SourceSchema]
    read_module: Callable[[str], str]
    overrides: Mapping[str, str]
    seed: int
    max_stages: int
    diagnostics: Diagnostics
    allowed: frozenset[str] = frozenset()
    claims: list[Claim] = field(default_factory=list)
    report: list[tuple[str, Ref]] = field(default_factory=list)
    shown: dict[str, Location] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = Session(self._describe, seed=self.seed, diagnostics=self.diagnostics)
        self.session.stages.limit = self.max_stages
        self.session.allowed = self.allowed
        self.evaluator = self.session.evaluator = Evaluator(self.session)
        builtins = Scope(Source("builtins", ""), None, library_names(), is_library=True)
        self.library = self.session.library = Library(builtins, self.read_module, self._bind_module)
        opened = Scope(self.source, self.library.always_open())
        self._guard(lambda: self._open_modules(opened))
        self.scope = Scope(self.source, opened)
        define(self.program, self.scope)
        self._define_bindings()

    def _guard(self, thunk: Callable[[], Any]) -> Any:
        return self.evaluator.guarded(thunk)

    def _describe(self, uri: str, options: dict[str, Any], at: Callable[[str], Location]) -> SourceSchema:
        try:
            return self.describe_source(uri, options)
        except LookupError as error:
            message, hint, option = (*error.args, None, None)[:3]
            raise faults.source_fault(str(message), at(option if option in options else "uri"), hint) from None

    def _open_modules(self, into: Scope) -> None:
        for statement in self.program.statements:
            if isinstance(statement, nodes.Use):
                where = Location(self.source, statement.span)
                self._guard(partial(self.library.open, statement, into, where))

    def _bind_module(self, program: nodes.Program, scope: Scope) -> None:
        """What a module uses itself, and its bindings and params, evaluated when they are first used."""
        for statement in program.statements:
            if isinstance(statement, nodes.Use):
                assert scope.parent is not None
                where = Location(scope.source, statement.span)
                self._guard(partial(self.library.open, statement, scope.parent, where))
        for statement in self._bound_once(program, scope):
            where = Location(scope.source, statement.name_span)
            if isinstance(statement, nodes.Binding | nodes.Param):
                evaluate: Any = self.evaluator.binding if isinstance(statement, nodes.Binding) else self._module_param
                value = partial(evaluate, statement, scope)
                scope.names[statement.name] = self._lazy(statement.name, where, value, is_own=False)
        for diagnostic in () if scope.is_library else check_names(program, scope):
            self.diagnostics.add(diagnostic)

    # --- bindings ---

    def _bound_once(self, program: nodes.Program, scope: Scope) -> list[Any]:
        """The statements of a file that bind a name, but for those that bind one again: these are reported."""
        seen: dict[str, Location] = {}
        found: list[Any] = []
        for statement in program.statements:
            if isinstance(statement, nodes.Use) and statement.alias is not None:
                name, where = statement.alias, alias_place(statement, scope.source)
            elif isinstance(statement, nodes.Binding | nodes.Param | nodes.Fn | nodes.ModelDef):
                name, where = statement.name, Location(scope.source, statement.name_span)
            else:
                continue
            if name in seen:
                self.diagnostics.add(faults.bound_twice(name, where, seen[name]).diagnostic)
                continue
            seen[name] = where
            if not isinstance(statement, nodes.Use):
                found.append(statement)
        return found

    def _define_bindings(self) -> None:
        for statement in self._bound_once(self.program, self.scope):
            where = Location(self.source, statement.name_span)
            if isinstance(statement, nodes.Binding):
                self.scope.names[statement.name] = self._lazy(statement.name, where, self._binding_value(statement))
            elif isinstance(statement, nodes.Param):
                self.scope.names[statement.name] = self._lazy(statement.name, where, self._param_value(statement))
        known = {s.name for s in self.program.statements if isinstance(s, nodes.Param)}
        for name in self.overrides:
            if name not in known:
                start = self.program.statements[0].span if self.program.statements else nodes.Span(0, 0)
                self.diagnostics.add(
                    faults.param_value(
                        name, "there is no such param" + _known(known), Location(self.source, start)
                    ).diagnostic
                )

    def _binding_value(self, statement: nodes.Binding) -> Callable[[], Any]:
        return lambda: self.evaluator.binding(statement, self.scope)

    def _param_value(self, statement: nodes.Param) -> Callable[[], Any]:
        return lambda: self._param(statement)

    def _lazy(self, name: str, location: Location, compute_value: Callable[[], Any], is_own: bool = True) -> Lazy:
        """A binding of the recipe (`is_own`), or of a module that it uses."""
        state: dict[str, Any] = {"value": None, "at": "new"}

        def force() -> Any:
            if state["at"] == "running":
                active = self._active[self._active.index(name) :]
                raise faults.cycle(active, location)
            if state["at"] == "new":
                if is_own and len(self._active) >= MAX_WAITING and not self.session.memo.get("going deep"):
                    self._force_before(name)
                state["at"] = "running"
                self._active.append(name)
                try:
                    with self.session.from_top(self.seed):
                        state["value"] = self._guard(compute_value)
                except RecursionError:
                    state["value"] = POISON
                    if len(self._active) == 1:
                        self.diagnostics.add(faults.wrong_value(DEEP, location, DEEP_HELP).diagnostic)
                self._active.pop()
                state["at"] = "done"
                if is_own:
                    self.values[name] = state["value"]
            return state["value"]

        return Lazy(name, location, force)

    def _force_before(self, name: str) -> None:
        """Evaluate what a binding mentions, and what that mentions, deepest first: a chain of bindings that stands in
        reverse order would need a frame of Python for each otherwise."""
        bindings: dict[str, Any] = {
            each.name: each.value if isinstance(each, nodes.Binding) else each.body
            for each in self.program.statements
            if isinstance(each, nodes.Binding | nodes.Fn | nodes.ModelDef)
        }
        order, seen = [], set(self._active) | {name}
        stack = [(name, iter(sorted(names_in(bindings[name]))))] if name in bindings else []
        while stack:
            current, rest = stack[-1]
            found = next((each for each in rest if each in bindings and each not in seen), None)
            if found is None:
                order.append(current)
                stack.pop()
            else:
                seen.add(found)
                stack.append((found, iter(sorted(names_in(bindings[found])))))
        self.session.memo["going deep"] = True
        for each in order[:-1]:
            value = self.scope.names.get(each)
            if isinstance(value, Lazy):
                self._guard(value.force)
        self.session.memo["going deep"] = False

    @property
    def _active(self) -> list[str]:
        active: list[str] = self.session.memo.setdefault("active bindings", [])
        return active

    def _param(self, node: nodes.Param) -> Any:
        value = param_value(self.evaluator, node, self.scope, self.overrides.get(node.name))
        self.params[node.name] = str(value) if isinstance(value, Quantity) else value
        return value

    def _module_param(self, node: nodes.Param, scope: Scope) -> Any:
        """A param of a module has its default: what `--set` sets are the params of the recipe."""
        return param_value(self.evaluator, node, scope, None)

    # --- the whole ---

    def evaluate(self) -> None:
        """Evaluate everything, in the order it is written; faults are collected."""
        for statement in self.program.statements:
            if isinstance(statement, nodes.Binding | nodes.Param):
                value = self.scope.names.get(statement.name)
                if isinstance(value, Lazy):
                    self._guard(value.force)
            elif isinstance(statement, nodes.Expect):
                self._guard(partial(self._expect, statement))
            elif isinstance(statement, nodes.Report):
                self._guard(partial(self._report, statement))
            elif isinstance(statement, nodes.Assume):
                self._guard(partial(self._assume, statement))

    def _site(self, node: nodes.Node, name: str) -> CallSite:
        return CallSite(self.evaluator, Location(self.source, node.span), {}, name, False)

    def _expect(self, node: nodes.Expect) -> None:
        site = self._site(node, "expect")
        text = self.source.text[node.claim.span.start : node.claim.span.end]
        with self.session.from_top(self.seed), self.session.named("expect"):
            value = self.evaluator.evaluate(node.claim, self.scope)
            if isinstance(value, bool):
                value = Deferred(["number", value], "bool")
            if not isinstance(value, Deferred) or value.kind != "bool":
                raise faults.wrong_kind(
                    "'expect'", "a comparison", describe(value), Location(self.source, node.claim.span)
                )
            inputs = Inputs()
            parts = claim_parts(self.evaluator, node.claim, self.scope)
            spec = {
                "expression": with_inputs(value.expression, inputs),
                "shown": [[part, with_inputs(shown, inputs)] for part, shown in parts],
            }
            line = self.source.position(node.span.start)[0]
            id = add_stage(site, "claim", spec, inputs.refs, {"verdict": "Claim"}, " ".join(text.split()))
        self.claims.append(Claim(id, line, " ".join(text.split()), node.because))
        if not _compares_runs(value.expression) and self._depends_on_training(inputs.refs):
            self.diagnostics.add(claim_faults.single_seed(Location(self.source, node.claim.span)))

    def _assume(self, node: nodes.Assume) -> None:
        """`assume disjoint(a, b)`: the recipe's word that two datasets share no row."""
        call, where = node.claim, Location(self.source, node.claim.span)
        if not (
            isinstance(call, nodes.Call) and isinstance(call.callee, nodes.Name) and call.callee.name == "disjoint"
        ):
            raise faults.wrong_kind("'assume'", "disjoint(a, b)", "another claim", where)
        with self.session.from_top(self.seed):
            data = [self.evaluator.evaluate(argument.value, self.scope) for argument in call.arguments]
        if len(data) != 2 or not all(isinstance(d, Dataset) for d in data):
            given = ", ".join(describe(d) for d in data) or "nothing"
            raise faults.wrong_kind("'disjoint'", "two datasets", given, where)
        self.session.disjoint.append((data[0].ref, data[1].ref))

    def _depends_on_training(self, refs: list[Ref]) -> bool:
        seen: set[str] = set()
        stack = [ref.stage for ref in refs]
        while stack:
            stage = self.session.stages.stages[stack.pop()]
            if stage.kind == "train":
                return True
            if stage.id not in seen:
                seen.add(stage.id)
                stack.extend(ref.stage for ref in stage.inputs)
        return False

    def _report(self, node: nodes.Report) -> None:
        first = len(self.report)
        for entry in node.entries:
            self._guard(partial(self._report_entry, entry))
        self.report[first:] = dict(self.report[first:]).items()  # of entries that a spread brings again the last

    def _report_entry(self, entry: nodes.Argument) -> None:
        if entry.name is not None:
            self._show(entry, entry.name, lambda: self.evaluator.evaluate(entry.value, self.scope))
            return
        with self.session.from_top(self.seed), self.session.named("report"):
            entries = self.evaluator.evaluate(entry.value, self.scope)
        if not isinstance(entries, Record):
            where = Location(self.source, entry.value.span)
            raise faults.wrong_kind("'...' in 'report'", "a record", describe(entries), where)
        for name, value in entries.items():
            self._guard(partial(self._show, entry, name, partial(_same, value)))

    def _show(self, entry: nodes.Argument, name: str, evaluate: Callable[[], Any]) -> None:
        site = self._site(entry, "report")
        with self.session.from_top(self.seed), self.session.named("report"), self.session.named(name):
            ref = shown(site, name, evaluate(), Location(self.source, entry.value.span))
        if entry.name is not None:  # of what is spread, later fields win
            where = Location(self.source, entry.name_span or entry.span)
            if name in self.shown:
                raise faults.bound_twice(name, where, self.shown[name])
            self.shown[name] = where
        self.report.append((name, ref))

    # --- the graph ---

    def workflow(self) -> Workflow:
        """The graph of a recipe without errors."""
        metrics = {}
        for statement in self.program.statements:
            value = self.values.get(getattr(statement, "name", ""), POISON)
            if isinstance(statement, nodes.Binding) and isinstance(value, Deferred) and value.kind == "number":
                with self.session.from_top(self.seed), self.session.named(statement.name):
                    metrics[statement.name] = compute(self._site(statement, "metric"), value)
        models = [binding for name, value in self._models() if (binding := self._model_binding(name, value))]
        table, ends = self.session.stages, self._ends(metrics, models)
        stages = without_passed_over(table.stages, ends, table.asked())
        stages = with_results_named(stages, self.values, table.asked())
        stages = with_wanted_ports(stages, {*metrics.values(), *(ref for _, ref in self.report)})
        return Workflow(
            self.source.name,
            stages,
            self.claims,
            self.report,
            metrics,
            models,
            self.params,
            self.seed,
            ends,
            {id: names for id, names in table.aliases().items() if id in stages},
        )

    def _ends(self, metrics: Mapping[str, Ref], models: Sequence[ModelBinding]) -> tuple[str, ...]:
        shown = [claim.stage for claim in self.claims] + [ref.stage for _, ref in self.report]
        shown += [ref.stage for ref in metrics.values()]
        shown += [source["input"][0] for model in models for _, _, source in model.weights if "input" in source]
        return tuple(dict.fromkeys([*shown, *end_stages(self.values.values())]))

    def _models(self) -> Iterator[tuple[str, Model]]:
        """The models that are bound at the top level, and those in records there, as what `train` gives: `t.net`."""
        bound = {value.identity for value in self.values.values() if isinstance(value, Model)}
        for name, value in self.values.items():
            if isinstance(value, Model):
                yield name, value
            elif isinstance(value, Record):
                models = [(field, each) for field, each in value.items() if isinstance(each, Model)]
                yield from ((f"{name}.{field}", each) for field, each in models if each.identity not in bound)

    def _model_binding(self, name: str, model: Model) -> ModelBinding | None:
        """A trained model bound at the top level, with its weights by path. None for one that never was trained."""
        if not is_trained(model):
            return None
        table = SlotTable(Inputs(), self.seed)
        weights = []
        found = {origin: slot_of(self.session, origin) for origin in model_origins(self.session, model)}
        paths = {origin: path for origin, (path, _) in found.items()}
        # of parts of parts that have equal names, and where no binding names the model: all paths from the model's root
        if len(set(paths.values())) < len(paths) or "." in name:
            paths |= {origin: path for path, _, origin in named_weights(self.session, model) if origin in paths}
        held = {origin: (path, slot) for path, slot, origin in held_values(self.session, model)}
        found, paths = found | held, paths | {origin: path for origin, (path, _) in held.items()}
        for origin, path in paths.items():
            slot = found[origin][1]
            source = table.source(origin)
            if "input" in source:
                ref = table.inputs.refs[source["input"]]
                source = {"input": [ref.stage, ref.port, source["index"]]}
            else:
                source = {**source, "init": dict(slot.init)}
            weights.append((path, tuple(evaluate(dim, 1) for dim in slot.type.shape), source))
        return ModelBinding(name, tuple(weights), partial(self._forward, name, model, paths)) if weights else None

    def _forward(self, name: str, model: Model, paths: Mapping[Any, str]) -> Any:
        from etude.compiler.forward import forward_program

        return forward_program(self.session, name, model, paths, Location(self.source, nodes.Span(0, 0)))


def _same(value: Any) -> Any:
    return value


def is_trained(model: Model) -> bool:
    if isinstance(model, Chain):
        return any(is_trained(part) for part in model.parts if isinstance(part, Model))
    if isinstance(model, Wrapper):
        return isinstance(model, Trained) or is_trained(model.base)
    return False


def _compares_runs(expression: Any) -> bool:
    """Whether a claim rests on several runs: `better`, or a list of measured values."""
    if not isinstance(expression, list):
        return False
    if expression[:1] == ["better"] or (expression[:1] == ["list"] and len(expression[1]) > 1):
        return True
    return any(_compares_runs(item) for item in expression)


def _known(names: set[str]) -> str:
    return f"; the recipe has {', '.join(sorted(names))}" if names else "; the recipe has none"
