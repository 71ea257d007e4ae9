"""Evaluate the workflow level: expressions become values, stage calls become nodes, lambdas are traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from etude.backends.program.dims import Size
from etude.compiler import faults, module_faults, units
from etude.compiler.arithmetic import binary, deferred, negate, tensor_operation
from etude.compiler.attributes import attribute
from etude.compiler.blame import is_library
from etude.compiler.calls import (
    Arguments,
    CallSite,
    bind_builtin,
    bind_inputs,
    bind_model,
    bind_parameters,
    bind_patterns,
)
from etude.compiler.definitions import value_of
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.faults import Poisoned
from etude.compiler.indexing import index_value
from etude.compiler.limits import STEPS_OF_A_CALL, check_parts
from etude.compiler.models import call_model, chain, construct, holds_weights
from etude.compiler.modules import known_modules
from etude.compiler.operations import call_by_name
from etude.compiler.scopes import MISSING, Lazy, Scope
from etude.compiler.session import Session
from etude.compiler.texts import METRICS as TEXTS
from etude.compiler.texts import call_text, is_text
from etude.compiler.tracing import name_value
from etude.compiler.typing import check_result
from etude.compiler.unrolling import Unrolling
from etude.compiler.values import (
    POISON,
    Builtin,
    Chain,
    Closure,
    Dataset,
    Deferred,
    Fitted,
    Instance,
    Measured,
    Model,
    ModelClass,
    OperationValue,
    Poison,
    Quantity,
    Range,
    Record,
    Setting,
    Tensor,
    describe,
)
from etude.compiler.watch import current
from etude.grammar import nodes

MAX_DEPTH = 150
HOLDERS = (Model, list, Record)  # of weights
AS_THEY_ARE = {
    int, float, str, bool, type(None), Dataset, Closure, Builtin, OperationValue, Tensor, Setting, Deferred, ModelClass,
    Quantity,
}  # fmt: skip
"""What a name stands for mostly, and what is neither resolved nor holds weights."""
LEAVES = frozenset({nodes.Name, nodes.Number, nodes.Quantity, nodes.String, nodes.Boolean, nodes.Lambda})
"""Expressions without parts: no stage is made in them, and evaluating one twice comes to the same."""


class Evaluator(Unrolling):
    """Evaluates expressions in scopes, collecting diagnostics in the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.depth = 0
        self.active: list[Any] = []
        self.handlers: dict[type, Callable[[Any, Scope], Any]] = {
            getattr(nodes, name.removeprefix("eval_")): getattr(self, name)
            for name in dir(self)
            if name.startswith("eval_")
        }

    def evaluate(self, node: nodes.Expr, scope: Scope) -> Any:
        """The value of an expression. Raises RecipeError, or Poisoned when the fault is already reported."""
        work = self.session.work
        work.spent += 1
        if work.spent > work.allowed:
            work.refill(len(self.session.stages.stages), self.session.place(self.at(node, scope)))
        return self.handlers[type(node)](node, scope)

    def at(self, node: nodes.Node, scope: Scope) -> Location:
        return Location(scope.source, node.span)

    def site(self, node: nodes.Node, scope: Scope) -> CallSite:
        """A construct of the language as the place of a call."""
        return CallSite(self, self.at(node, scope), {}, "loop", scope.is_library)

    def each(self, evaluate: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """The results of independent evaluations; all their faults are reported before any unwinds."""
        if not items:
            return []
        results, failed = [], False
        extent = self.session.extent
        level = extent.enter(len(items), len(self.session.stages.stages))
        try:
            for item in items:
                try:
                    value = evaluate(item)
                    failed |= value is POISON
                    results.append(value)
                except RecipeError as error:
                    self.report(error)
                    failed = True
                except Poisoned:
                    failed = True
                level.done += 1
        finally:
            extent.leave()
        if failed:
            raise Poisoned
        return results

    def values(self, parts: Sequence[nodes.Expr], scope: Scope) -> list[Any]:
        """The values of expressions that stand beside each other: `each`, which leaves mostly do not need."""
        if LEAVES.issuperset(map(type, parts)):
            try:
                return [self.evaluate(part, scope) for part in parts]
            except (RecipeError, Poisoned):
                if self.session.work.is_over:  # the expansion went beyond its steps, which is said once
                    raise
        return self.each(lambda part: self.evaluate(part, scope), parts)

    def guarded(self, thunk: Callable[[], Any]) -> Any:
        """The result of an evaluation, or POISON once its fault is reported."""
        try:
            return thunk()
        except RecipeError as error:
            self.report(error)
        except Poisoned:
            pass
        return POISON

    def report(self, error: RecipeError) -> None:
        """Tell a fault, and end the evaluation where nobody wants to know of more."""
        self.session.diagnostics.add(self.session.blamed(error.diagnostic))
        if self.session.diagnostics.is_full:
            self.session.work.stop()

    # --- literals and names ---

    def eval_Number(self, node: nodes.Number, scope: Scope) -> Any:
        return node.value

    def eval_Quantity(self, node: nodes.Quantity, scope: Scope) -> Any:
        return units.literal(node)

    def eval_String(self, node: nodes.String, scope: Scope) -> str:
        return node.value

    def eval_Boolean(self, node: nodes.Boolean, scope: Scope) -> bool:
        return node.value

    def eval_Name(self, node: nodes.Name, scope: Scope) -> Any:
        value = scope.find(node.name)
        if value is MISSING:
            raise faults.unknown_name(node.name, self.at(node, scope), scope.visible())
        if type(value) in AS_THEY_ARE:
            return value
        if type(value) is Lazy:
            value = value.force()
            if type(value) in AS_THEY_ARE:
                return value
        if type(value) is Poison:
            raise Poisoned
        if callable(getattr(value, "resolve", None)):
            return value.resolve(self, self.at(node, scope))
        is_holder = self.session.frame is not None and isinstance(value, HOLDERS)
        if is_holder and scope.is_outside_of_model(node.name) and holds_weights(value):
            raise faults.model_from_outside(node.name, self.at(node, scope))
        return value

    # --- structures ---

    def eval_ListExpr(self, node: nodes.ListExpr, scope: Scope) -> list[Any]:
        if self.session.frame is None:
            place = (scope.source.name, node.span)
            self.session.memo["elements", place] = [self.at(item, scope) for item in node.items]
        return check_parts(self.session, self.values(node.items, scope), self.at(node, scope))

    def eval_RecordExpr(self, node: nodes.RecordExpr, scope: Scope) -> Record:
        fields: dict[str, Any] = {}

        def add(field: nodes.Field | nodes.Spread) -> None:
            if isinstance(field, nodes.Spread):
                value = self.evaluate(field.value, scope)
                if not isinstance(value, Record):
                    raise faults.wrong_kind("'...'", "a record", describe(value), self.at(field, scope))
                fields.update(value)
                return
            with self.session.named(None if self.session.frame else field.name):
                fields[field.name] = self.evaluate(field.value, scope)
            self._name_part(fields[field.name], field.name)

        self.each(add, node.fields)
        return check_parts(self.session, Record(fields), self.at(node, scope))

    def _name_part(self, value: Any, name: str) -> None:
        if isinstance(value, Tensor) and self.session.frame is not None:
            name_value(self.session.frame, value, name)

    def eval_Lambda(self, node: nodes.Lambda, scope: Scope) -> Closure:
        return Closure("lambda", node.parameters, node.body, scope, node)

    # --- operators ---

    def eval_Conditional(self, node: nodes.Conditional, scope: Scope) -> Any:
        return self.evaluate(node.then if self.static_bool(node.condition, scope) else node.otherwise, scope)

    def static_bool(self, node: nodes.Expr, scope: Scope) -> bool:
        """A condition that must be decided now."""
        value = self.evaluate(node, scope)
        if isinstance(value, bool):
            return value
        if isinstance(value, Deferred):
            raise faults.after_the_run("this condition", self.at(node, scope))
        if isinstance(value, Tensor):
            text = "a condition in a traced function must be decided before the run, but this is a tensor"
            raise faults.wrong_value(
                text, self.at(node, scope), "use where(condition, a, b), or choose(int(condition), [f, g])(x)"
            )
        raise faults.wrong_kind("a condition", "a bool", describe(value), self.at(node, scope))

    def eval_Binary(self, node: nodes.Binary, scope: Scope) -> Any:
        if node.operator in {"and", "or"}:
            return self._logic(node, scope)
        left, right = self.values((node.left, node.right), scope)
        location = self.at(node, scope)
        if node.operator == "..":
            return Range(left, right)
        if node.operator == ">>":
            return self._compose(left, right, location)
        return binary(self.session, node.operator, left, right, location)

    def _compose(self, left: Any, right: Any, location: Location) -> Chain:
        for side in (left, right):
            if not isinstance(side, Model | Closure | Builtin | OperationValue):
                help = f"a constructor is called first: {side.name}(...)" if isinstance(side, ModelClass) else None
                raise faults.wrong_kind("'>>'", "models or functions of one tensor", describe(side), location, help)
        return chain(self.session, [left, right], location)

    def _logic(self, node: nodes.Binary, scope: Scope) -> Any:
        left = self.evaluate(node.left, scope)
        if isinstance(left, bool):
            if left == (node.operator == "or"):
                return left
            right = self.evaluate(node.right, scope)
            if isinstance(right, bool | Deferred | Tensor):
                return right
            raise faults.wrong_kind(f"'{node.operator}'", "a bool", describe(right), self.at(node.right, scope))
        right = self.evaluate(node.right, scope)
        if isinstance(left, Tensor | Measured) or isinstance(right, Tensor | Measured):
            return binary(self.session, node.operator, left, right, self.at(node, scope))
        if isinstance(left, Deferred) or isinstance(right, Deferred):
            return deferred(node.operator, left, right, self.at(node, scope))
        raise faults.wrong_kind(f"'{node.operator}'", "a bool", describe(left), self.at(node.left, scope))

    def eval_Unary(self, node: nodes.Unary, scope: Scope) -> Any:
        value = self.evaluate(node.operand, scope)
        location = self.at(node, scope)
        if node.operator == "-":
            return negate(self.session, value, location)
        if isinstance(value, Tensor | Measured):
            return tensor_operation(self.session, "not", [value], location)
        if isinstance(value, Deferred):
            return Deferred(["not", value.expression], "bool")
        if isinstance(value, bool):
            return not value
        raise faults.wrong_kind("'not'", "a bool", describe(value), location)

    def eval_Pipe(self, node: nodes.Pipe, scope: Scope) -> Any:
        piped = nodes.Argument(span=node.value.span, value=node.value)
        call = replace(node.call, arguments=(piped, *node.call.arguments), span=node.span)
        return self.eval_Call(call, scope)

    def eval_Index(self, node: nodes.Index, scope: Scope) -> Any:
        value = self.evaluate(node.value, scope)
        return index_value(self, value, node, scope)

    def eval_Attribute(self, node: nodes.Attribute, scope: Scope) -> Any:
        value = self.evaluate(node.value, scope)
        where = Location(scope.source, node.name_span)
        if isinstance(value, OperationValue) and value.name == "std" and f"std.{node.name}" in known_modules():
            raise module_faults.unopened_module(f"std.{node.name}", node.name, where)
        return attribute(self.session, value, node.name, where)

    # --- calls ---

    def eval_Call(self, node: nodes.Call, scope: Scope) -> Any:
        callee = self.evaluate(node.callee, scope)
        name = call_name(node.callee)
        arguments = node.arguments if node.block is None else (*node.arguments, *node.block)
        names = [argument.name for argument in arguments if argument.name is not None]
        if any(argument.is_spread for argument in arguments) or len(set(names)) < len(names):
            given = self._arguments(arguments, name, scope)
        else:
            given = Arguments()
            for argument, value in zip(arguments, self.values([a.value for a in arguments], scope), strict=True):
                given.add(argument, value)
        site = CallSite(self, self.at(node, scope), given.spans, name, scope.is_library, given.before)
        return self.dispatch(callee, given.positional, given.named, site)

    def _arguments(self, arguments: Sequence[nodes.Argument], name: str, scope: Scope) -> Arguments:
        """The arguments of a call with spreads, or with names that are given twice."""
        given = Arguments()

        def add(argument: nodes.Argument) -> None:
            value = self.evaluate(argument.value, scope)
            if argument.is_spread:
                if not isinstance(value, Record):
                    raise faults.wrong_kind("'...'", "a record", describe(value), self.at(argument.value, scope))
                given.spread(argument, value)
                return
            if argument.name in given.named:
                where = Location(scope.source, argument.name_span or argument.span)
                raise faults.repeated_argument(name, argument.name, where)
            given.add(argument, value)

        self.each(add, arguments)
        return given

    def call(self, callee: Any, positional: Sequence[Any], named: Mapping[str, Any], location: Location) -> Any:
        """Call a value from the inside of the compiler."""
        name = getattr(callee, "name", "function") or "function"
        return self.dispatch(callee, list(positional), dict(named), CallSite(self, location, {}, name, True))

    def dispatch(self, callee: Any, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
        kind = type(callee)
        if kind is OperationValue or kind is Builtin:
            if positional and is_text(positional[0]) and callee.name not in TEXTS:
                return call_text(site, callee.name, positional, named)
            if kind is Builtin:
                return bind_builtin(callee, positional, named, site)
            return call_by_name(callee.name, positional, named, site)
        if kind is Closure:
            return self.call_closure(callee, positional, named, site)
        if kind is ModelClass:
            configuration, seed = bind_model(self, callee, positional, named, site)
            return construct(self.session, callee, configuration, seed, site.location)
        if isinstance(callee, Model):
            given = bind_inputs(callee, positional, named, site) if named else positional
            with self.session.called_at(site):
                return call_model(self.session, callee, given, site.location, self)
        help = f"{site.name} is one as it stands: leave the parentheses out" if isinstance(callee, Setting) else None
        help = f"in 'map' and 'measure', write predict({site.name}, row)" if isinstance(callee, Fitted) else help
        raise faults.not_callable(describe(callee), site.location, help)

    def call_closure(self, closure: Closure, positional: list[Any], named: dict[str, Any], site: CallSite) -> Any:
        if not closure.is_lambda and closure in self.active:
            raise faults.recursion(closure.name, site.location)
        if self.depth > MAX_DEPTH:
            text = f"calls are nested more than {MAX_DEPTH} deep"
            raise faults.wrong_value(text, self.session.place(site.location), "use loop, or a comprehension")
        if closure.is_lambda:
            scope = bind_patterns(closure, positional, named, site)
        else:
            scope = bind_parameters(self, closure, positional, named, site)
        self.session.work.spent += STEPS_OF_A_CALL
        self.depth += 1
        self.active.append(closure)
        if not site.in_library:
            self.session.call_sites.append(site.location)
        watch = current()
        if watch is not None:
            watch.enter(closure, positional, named, site)
        try:
            in_claim = self.session.names == ["expect"] and not closure.is_lambda and not closure.scope.is_library
            evaluate: Any = self.body if isinstance(closure.body, nodes.Body) else self.evaluate
            if in_claim:
                with self.session.named(closure.name):
                    result = evaluate(closure.body, scope)
            else:
                result = evaluate(closure.body, scope)
            returns = closure.node.returns if isinstance(closure.node, nodes.Fn) else None
            return result if returns is None else self._returned(result, returns, closure, scope)
        except RecipeError as error:
            if site.in_library or closure.is_lambda:
                raise
            raise RecipeError(self.session.blamed(error.diagnostic)) from None
        finally:
            self.depth -= 1
            self.active.pop()
            if watch is not None:
                watch.frames.pop()
            if not site.in_library:
                self.session.call_sites.pop()

    def _returned(self, value: Any, type: nodes.TypeNode, closure: Closure, scope: Scope) -> Any:
        """What a function gives, if it is what its `-> T` says."""
        shown = closure.body.result if isinstance(closure.body, nodes.Body) else closure.body
        return check_result(value, type, scope, self.at(shown, scope), closure.name)

    def body(self, body: nodes.Body, scope: Scope) -> Any:
        """Evaluate the statements of a body in a scope of its own; the right side of `x = f(x)` means the outer x."""
        inner = scope.child()
        level = self.session.extent.enter(len(body.statements) + 1, len(self.session.stages.stages))
        try:
            for statement in body.statements:
                self._statement(statement, body, inner)
                level.done += 1
            return self.evaluate(body.result, inner)
        finally:
            self.session.extent.leave()

    def _statement(self, statement: nodes.Fn | nodes.Binding, body: nodes.Body, inner: Scope) -> None:
        name = statement.name
        if isinstance(statement, nodes.Fn):
            inner.names[name] = value_of(statement, inner)
            return
        if name in inner.names:
            first = next(each.name_span for each in body.statements if each.name == name)
            where, before = (Location(inner.source, span) for span in (statement.name_span, first))
            raise faults.bound_twice(name, where, before)
        inner.names[name] = self.guarded(partial(self.binding, statement, inner))

    def binding(self, node: nodes.Binding, scope: Scope) -> Any:
        """The value of `name = e`, named."""
        if self.session.frame is not None:  # what is traced makes no stages that could be named
            value = self.evaluate(node.value, scope)
        else:
            with self.session.named(node.name, inner=scope.is_library):
                value = self.evaluate(node.value, scope)
        return self.name_value(value, node.name, keep=scope.is_library)

    def name_value(self, value: Any, name: str, *, keep: bool) -> Any:
        """Give a model, or each of a list of models, the name that it is bound to."""
        if type(value) is Tensor:
            if self.session.frame is not None:
                name_value(self.session.frame, value, name)
            return value
        if isinstance(value, Model):
            return value.named(name) if keep else replace(value, name=name)
        if isinstance(value, list) and value and all(isinstance(item, Model) for item in value):
            return [self.name_value(item, f"{name}.{i}", keep=keep) for i, item in enumerate(value)]
        return value

    def model_body(self, model: Instance, inputs: Sequence[Tensor]) -> Any:
        """Evaluate a model's body on its inputs, in the frame that the caller has set up."""
        definition = model.definition
        named = {p.name: value for p, value in zip(definition.node.inputs, inputs, strict=False)}
        scope = definition.scope.child(**model.configuration, **named)
        scope.is_model = True
        for parameter in definition.node.inputs[len(inputs) :]:
            assert parameter.default is not None, "an input without a default is always given"
            scope.names[parameter.name] = self.evaluate(parameter.default, scope)
        if not definition.scope.is_library or is_library(model.location):
            return self.body(definition.node.body, scope)
        with self.session.in_model_made_at(model.location):
            try:
                return self.body(definition.node.body, scope)
            except RecipeError as error:
                raise RecipeError(self.session.blamed(error.diagnostic)) from None


def call_name(node: nodes.Expr) -> str:
    return node.name if type(node) is nodes.Name or type(node) is nodes.Attribute else "function"


__all__ = ["Dataset", "Evaluator", "Size"]
