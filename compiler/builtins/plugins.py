"""`plugin.name.function(d, ...)`: Python of others, found by its entry point, loaded only where it is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from etude.compiler import faults
from etude.compiler.builtins.data import add_stage, dataset
from etude.compiler.builtins.external import declared_columns
from etude.compiler.builtins.table import REGISTRY
from etude.compiler.calls import CallSite
from etude.compiler.declared import kind_json
from etude.compiler.diagnostics import Location
from etude.compiler.schema import ColumnSchema
from etude.compiler.scopes import did_you_mean
from etude.compiler.values import Builtin, Dataset, Deferred, describe
from etude.compiler.workflow import Ref

GROUP = "etude.plugins"
KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "an int"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "a string"),
}


class Plugins(Struct, frozen=True, eq=False):
    """`plugin`: the installed plug-ins by the names of their entry points."""

    def field(self, session: Any, name: str, location: Location) -> Plugin:
        """One plug-in; nothing of it is loaded unless it is allowed."""
        found = installed()
        if name not in found:
            help = did_you_mean(name, found) or (f"there are {', '.join(found)}" if found else "none is installed")
            raise faults.source_fault(f"no plug-in is called '{name}'", location, help)
        if f"plugin:{name}" not in session.allowed:
            raise faults.not_allowed(f"'plugin.{name}' is Python of others", f"--allow plugin:{name}", location)
        return loaded(name, found[name])


class Plugin(Struct, frozen=True, eq=False):
    """A loaded plug-in, with the distribution it comes from."""

    name: str
    functions: Mapping[str, Any]
    distribution: str
    version: str

    def field(self, session: Any, name: str, location: Location) -> Builtin:
        """One of its functions, with the parameters of its signature."""
        if name not in self.functions:
            raise faults.unknown_field(name, location, list(self.functions), f"the plug-in '{self.name}'")
        parameters = list(signature_of(self.functions[name]).parameters.values())
        names = [("data", False), *((p.name, p.default is not p.empty) for p in parameters[1:])]
        return Builtin(f"plugin.{self.name}.{name}", partial(_called, self, name), tuple(names))


REGISTRY["plugin"] = Plugins()


def signature_of(function: Any) -> Any:
    """The signature of a function of a plug-in; few recipes have one, and `inspect` takes long to import."""
    import inspect

    return inspect.signature(function)


def installed() -> dict[str, Any]:
    """The entry points by name; no code of theirs is run."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def loaded(name: str, entry: Any) -> Plugin:
    """A plug-in whose code is run now."""
    module = entry.load()
    public = {each: value for each, value in vars(module).items() if callable(value) and hasattr(value, "returns")}
    return Plugin(name, public, entry.dist.name if entry.dist else "", entry.dist.version if entry.dist else "")


def _called(plugin: Plugin, function: str, site: CallSite, data: Any, **settings: Any) -> Any:
    d = dataset(site, data, "data")
    made = plugin.functions[function]
    for name, value in settings.items():
        _check(site, name, value, signature_of(made).parameters[name].annotation)
    returns = made.returns({name: str(column) for name, column in d.columns.items()}) if callable(made.returns) \
        else made.returns  # fmt: skip
    columns = None if returns == "number" else declared_columns(site, returns, "data")
    spec = {
        "plugin": plugin.name,
        "function": function,
        "settings": dict(settings),
        "distribution": plugin.distribution,
        "version": plugin.version,
        "columns": columns and [[c.name, [c.dtype, list(c.shape)], kind_json(c)] for c in columns.values()],
    }
    return _stage(site, d, spec, columns, f"{plugin.distribution} {plugin.version}")


def _stage(
    site: CallSite, d: Dataset, spec: Mapping[str, Any], columns: Mapping[str, ColumnSchema] | None, label: str
) -> Any:
    if columns is None:
        id = add_stage(site, "plugin", dict(spec), [d.ref], {"value": "Metric"}, label)
        return Deferred(["ref", id, "value"])
    id = add_stage(site, "plugin", dict(spec), [d.ref], {"data": str(Dataset(d.ref, columns, d.rows))}, label)
    return Dataset(Ref(id, "data"), columns, d.rows, d.role, d.roots)


def _check(site: CallSite, name: str, value: Any, annotation: Any) -> None:
    """A setting fits the annotation of its parameter, where there is one that is known."""
    word = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kind, text = KINDS.get(word, (object, ""))
    if not isinstance(value, kind) or (isinstance(value, bool) and word in ("int", "float")):
        raise faults.wrong_kind(f"'{name}' of '{site.name}'", text, describe(value), site.at(name))
