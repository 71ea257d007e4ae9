"""Write a trained model of a run in a format that other programs read.

safetensors: the weights under their paths in the recipe, with what the model is and where it is from in the metadata.
hf: a folder with weights, config.json and a readable module for PyTorch, whose load() needs nothing of Etude.
onnx: a file for any number of rows, through PyTorch's exporter.
"""

from __future__ import annotations

import sys
from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, store_to_read
from etude.runtime.cli.options import OptionSet, argument, option

FORMATS = ("safetensors", "hf", "onnx")
EXAMPLES = (
    ("etude export last classifier --to safetensors", "Write classifier.safetensors."),
    ("etude export last classifier --to hf -o shared/classifier", "Write a folder to share."),
    ("etude export 20261120-1 classifier --to onnx", "Write classifier.onnx."),
)


class Options(OptionSet):
    run: str = argument("the run: its id, the start of one, or last", metavar="RUN")
    name: str = argument("the model, by its name in the recipe", metavar="NAME")
    to: str = option("the format", choices=FORMATS, default="safetensors")
    output: Path | None = option("where to write, by default its name here", metavar="PATH", short="-o", parse=Path)
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)


def run(options: Options) -> int:
    from etude.runtime.exports import write_export
    from etude.runtime.runs import find_run
    from etude.runtime.saved import saved_model

    with store_to_read(options.store) as store:
        model = saved_model(find_run(store, options.run), options.name)
        written = write_export(model, options.to, options.output)
    print(f"wrote {written}: {model.signature()}", file=sys.stderr)
    return faults.OK
