"""Someone else's program or Python as a stage: refused unless the command line allows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.data import add_stage
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.declared import ColumnTextError, declared_column, kind_json
from etude.compiler.schema import ColumnSchema
from etude.compiler.structure import digest
from etude.compiler.values import Dataset, Deferred, Record, describe
from etude.compiler.workflow import Ref


@builtin
def external(
    site: CallSite,
    cmd: Any,
    inputs: Any = None,
    outputs: Any = None,
    *,
    files: Any = None,
    timeout: Any = None,
    seed: Any = None,
) -> Record:
    """What a program makes of datasets and numbers. It runs in a folder of its own with `inputs/NAME.jsonl` (or `.json`
    for numbers) and `files`, and writes `outputs/NAME.jsonl` or `.json` as `outputs` declares: a record of columns, or
    "number". It is opaque: what it reads beside is not known, and leakage through it is not seen."""
    if "external" not in site.session.allowed:
        raise faults.not_allowed("'external' runs a program", "--allow external", site.location)
    given, declared = _inputs(site, inputs), _outputs(site, outputs)
    spec: dict[str, Any] = {
        "cmd": _command(site, cmd),
        "takes": [[name, "data" if isinstance(value, Dataset) else "number"] for name, value in given.items()],
        "outputs": {name: _spec(columns) for name, columns in declared.items()},
        "files": _files(site, files),
        "timeout": None if timeout is None else _seconds(site, timeout),
        "seed": site.session.seed if seed is None else plain_int(site, "seed", seed),
    }
    refs = [value.ref if isinstance(value, Dataset) else _computed(site, value) for value in given.values()]
    shown = {name: "Metric" if columns is None else str(Dataset(Ref("", ""), columns, None))
             for name, columns in declared.items()}  # fmt: skip
    id = add_stage(site, "external", spec, refs, shown, " ".join(spec["cmd"])[:60])
    roots = frozenset([id]).union(*(value.roots for value in given.values() if isinstance(value, Dataset)))
    return Record({name: _result(site, Ref(id, name), columns, roots) for name, columns in declared.items()})


def _result(site: CallSite, ref: Ref, columns: Mapping[str, ColumnSchema] | None, roots: frozenset[str]) -> Any:
    if columns is None:
        return Deferred(["ref", ref.stage, ref.port])
    site.session.sources[ref] = columns
    return Dataset(ref, columns, None, "train", roots)


def _computed(site: CallSite, value: Deferred) -> Ref:
    from etude.compiler.builtins.reporting import compute

    return compute(site, value)


def _command(site: CallSite, cmd: Any) -> list[str]:
    import shlex

    words = shlex.split(cmd) if isinstance(cmd, str) else cmd
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        expected = 'a command such as "python3 score.py" or a list of its words'
        raise faults.wrong_kind("'cmd' of 'external'", expected, describe(cmd), site.at("cmd"))
    return list(words)


def _inputs(site: CallSite, inputs: Any) -> dict[str, Any]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Record):
        raise faults.wrong_kind("'inputs' of 'external'", "a record", describe(inputs), site.at("inputs"))
    for name, value in inputs.items():
        if not isinstance(value, Dataset | Deferred):
            expected = "a dataset, or a number known after the run"
            raise faults.wrong_kind(f"the input '{name}' of 'external'", expected, describe(value), site.at("inputs"))
    return dict(inputs)


def _outputs(site: CallSite, outputs: Any) -> dict[str, dict[str, ColumnSchema] | None]:
    """The declared outputs: the columns of each dataset, None for a number."""
    if not isinstance(outputs, Record) or not outputs:
        expected = 'what it makes, such as {scores: {id: "int", score: "float"}, total: "number"}'
        got = "nothing" if outputs is None else describe(outputs)
        raise faults.wrong_kind("'outputs' of 'external'", expected, got, site.at("outputs"))
    return {name: None if declared == "number" else _columns(site, name, declared)
            for name, declared in outputs.items()}  # fmt: skip


def _columns(site: CallSite, name: str, declared: Any) -> dict[str, ColumnSchema]:
    if not isinstance(declared, Record) or not declared:
        expected = 'a record of columns, or "number"'
        raise faults.wrong_kind(f"the output '{name}'", expected, describe(declared), site.at("outputs"))
    return declared_columns(site, declared, "outputs")


def declared_columns(site: CallSite, declared: Mapping[str, Any], argument: str) -> dict[str, ColumnSchema]:
    """The columns that a record of texts such as `"float32[8, 8]"` declares."""
    found = {}
    for name, text in declared.items():
        try:
            found[name] = declared_column(name, text)
        except ColumnTextError as error:
            raise faults.wrong_value(str(error), site.at(argument), error.hint) from None
    return found


def _spec(columns: Mapping[str, ColumnSchema] | None) -> Any:
    return None if columns is None else [[c.name, [c.dtype, list(c.shape)], kind_json(c)] for c in columns.values()]


def _files(site: CallSite, files: Any) -> dict[str, str]:
    """The files that the program is given, beside the recipe, with a hash of what is in them."""
    if files is None:
        return {}
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise faults.wrong_kind("'files' of 'external'", "a list of names", describe(files), site.at("files"))
    found = {}
    for file in files:
        if file.startswith("/") or ".." in file.split("/"):
            raise faults.wrong_value(f'"{file}" does not lie beside the recipe', site.at("files"))
        try:
            found[file] = digest(site.session.library.read(file))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a text file"
            raise faults.source_fault(f'cannot read "{file}": {reason}', site.at("files"), None) from None
    return found


def _seconds(site: CallSite, timeout: Any) -> float:
    from etude.compiler.values import Quantity

    if not isinstance(timeout, Quantity) or timeout.unit != "seconds":
        raise faults.wrong_kind(
            "'timeout' of 'external'", "a time such as 10min", describe(timeout), site.at("timeout")
        )
    return float(timeout.value)
