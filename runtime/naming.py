"""Results under the names of the recipe that they are shown for: the store knows them by position."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from etude.compiler.naming import Names, inverse, port_names, renamed, result_names
from etude.compiler.workflow import Stage
from etude.runtime.stages import presented
from etude.runtime.store import Record, Store

Json = Any
FIELDS = {"history", "value"}  # outputs with fields that recipes name
COUNTS = "confusion"  # that of a measure which says of what each count is


def find_record(store: Store, stage: Stage, key: str) -> Record | None:
    """The record of a stage, with the recipe's names on its outputs."""
    record = store.record(key)
    return None if record is None else with_ports(record, inverse(port_names(stage)))


def write_record(store: Store, stage: Stage, record: Record) -> Record:
    """Create the record of a stage, unless another process was first; the one that counts, as `find_record` has it."""
    names = port_names(stage)
    return with_ports(store.records.write(with_ports(record, names)), inverse(names))


def with_ports(record: Record, names: Names) -> Record:
    """A record with other names on its outputs, also where it says how many rows each has."""
    if not names:
        return record
    made = {name: renamed(value, names) if name == "rows" else value for name, value in record.made.items()}
    return replace(record, outputs=renamed(record.outputs, names), made=made)


def shown_names(stage: Stage) -> Names:
    """What the recipe calls the parts of a stage's values, by what the store calls them."""
    return inverse(result_names(stage))


def shown_value(stage: Stage, value: Json) -> Json:
    """A stored JSON output with the names that this recipe gives to its parts."""
    return renamed(presented(stage.kind, stage.spec, value), shown_names(stage))


def shown_output(port: str, value: Json, names: Names | None) -> Json:
    """The same by the `names` that a stage's result, a run's manifest, or an event has."""
    if port == COUNTS and names:
        return [{**each, "of": names.get(each["of"], each["of"])} for each in value]
    return renamed(value, names or {}) if port in FIELDS else value
