"""Predict with a trained model of a run, one JSON object per row.

The model goes by its name at the top level of the recipe; the rows come from a file (jsonl, csv, npz, parquet, ..), any
other data source, or as JSON lines from standard input. They have the columns that the model takes, and maybe others.
A model of tokens takes texts as well, from standard input plain lines of them.
"""

from __future__ import annotations

import json
from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, store_to_read
from etude.runtime.cli.options import OptionSet, argument, option

EXAMPLES = (
    ("etude predict last classifier --input new.csv", "Print a line of JSON for each row of a file."),
    ("head -3 rows.jsonl | etude predict last classifier --input -", "Predict for rows from standard input."),
    ("etude predict 20261120-1 classifier --input new.npz --backend jax", "Compute with the other backend."),
)


class Options(OptionSet):
    run: str = argument("the run: its id, the start of one, or last", metavar="RUN")
    name: str = argument("the model, by its name in the recipe", metavar="NAME")
    input: str | None = option(
        "where the rows are: a file or source; - is JSON lines from standard input", metavar="FILE"
    )
    backend: str | None = option("what computes, by default what the run was made with", choices=("torch", "jax"))
    device: str = option("where it computes", choices=("cpu", "cuda", "auto"), default="cpu")
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)


def run(options: Options) -> int:
    from etude.runtime.runs import find_run
    from etude.runtime.saved import saved_model

    if options.input is None:
        hint = "--input FILE, or --input - for JSON lines from standard input"
        raise faults.UsageError("what should be predicted for?", hint=hint)
    with store_to_read(options.store) as store:
        model = saved_model(find_run(store, options.run), options.name)
        from etude.runtime.predicting import predictions, read_inputs
        from etude.runtime.processors import available_cores
        from etude.runtime.sources import SourceError
        from etude.runtime.stages import StageError, loaded_backend

        try:
            backend = loaded_backend(options.backend or model.backend, options.device, available_cores())
            columns = read_inputs(model, options.input)
        except StageError as error:  # no such device or framework: told before any data is read
            raise faults.UsageError(error.message, hint=error.hint) from error
        except SourceError as error:
            raise faults.UsageError(str(error)) from error
        for record in predictions(model, columns, backend):
            print(json.dumps(record, ensure_ascii=False))
    return faults.OK
