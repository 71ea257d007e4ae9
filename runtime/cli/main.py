"""Find the command, run it, and turn whatever happens into an exit code and one clear message."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from etude.runtime.cli import faults
from etude.runtime.cli.terminal import paint_for, say_error, show_what_it_can


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `etude` with these arguments (by default the process's) and give the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    show_what_it_can(sys.stdout)
    show_what_it_can(sys.stderr)
    try:
        code = _dispatch(given)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse after --help
        return end.code if isinstance(end.code, int) else faults.OK
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # nobody reads: do not complain again at exit
        return faults.OK
    except KeyboardInterrupt as error:
        said = str(error) or "interrupted; what was finished is kept"
        print(f"\n{said}", file=sys.stderr)
        return faults.INTERRUPTED
    except faults.UsageError as error:
        see = f"see `{error.command} --help`" if error.command else None
        say_error(error.message, error.hint or see)
        return faults.WRONG_USE
    except faults.RecipeFaultError as error:
        return _report_recipe(error, as_json="--json" in given)
    except Exception as error:
        fault = faults.world_fault(error)
        if fault is None:
            return _report_own_fault(error, given)
        said = faults.world_text(error)
        say_error(said, getattr(error, "hint", None) if "hint:" not in said else None)
        return fault


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return faults.OK
    if given[0] in ("-V", "--version"):
        from etude import __version__

        print(f"etude {__version__}")
        return faults.OK
    command, *rest = given
    module = find_command(command)
    while hasattr(module, "__path__") and rest and not rest[0].startswith("-"):
        command, rest = f"{command} {rest[0]}", rest[1:]
        module = find_command(command)
    from etude.runtime.cli.options import parser_for, read_options

    parser = parser_for(command, module.Options, module.__doc__ or "", module.EXAMPLES)
    return int(module.run(read_options(parser, module.Options, rest)))


def command_names(above: str = "") -> list[str]:
    """The names of all commands, or of those below one that is a package (`store gc` is below `store`)."""
    import pkgutil

    package = importlib.import_module(_module_name(above))
    prefix = f"{above} " if above else ""
    modules = pkgutil.iter_modules(getattr(package, "__path__", []))
    return sorted(prefix + module.name.replace("_", "-") for module in modules)


def find_command(name: str) -> ModuleType:
    """The module of a command. Raises UsageError with the nearest names."""
    *above, last = name.split(" ")
    if last.replace("-", "_").isidentifier() and importlib.util.find_spec(_module_name(name)):
        return importlib.import_module(_module_name(name))
    import difflib

    known = command_names(" ".join(above))
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"
    if name.endswith(".etude"):
        hint = f"did you mean 'etude run {name}', or 'etude check {name}'?"
    raise faults.UsageError(f"there is no command '{name}'", hint=hint)


def _module_name(command: str) -> str:
    return ".".join(["etude.runtime.cli.commands", *command.replace("-", "_").split()])


def overview() -> str:
    """What `etude --help` prints: every command with its first line."""
    paint = paint_for(sys.stdout)
    names = command_names()
    width = max(map(len, names))
    lines = [
        "Etude: training workflows, checked, compiled, and run on PyTorch or JAX",
        "",
        f"{paint('usage:', 'bold')} etude COMMAND [OPTIONS]",
        "",
    ]
    for name in names:
        summary = (find_command(name).__doc__ or "").splitlines()[0].rstrip(".")
        lines.append(f"  {paint(name, 'cyan')}{' ' * (width - len(name))}  {summary}")
    lines += ["", "`etude COMMAND --help` tells the options and shows examples; `etude --version` the version."]
    return "\n".join(lines) + "\n"


def _report_recipe(error: faults.RecipeFaultError, as_json: bool) -> int:
    if as_json:
        from etude.compiler.render.json import diagnostics_to_json
        from etude.runtime.cli.terminal import print_json

        print_json(diagnostics_to_json(error.files, error.diagnostics))
        return error.code
    from etude.compiler.render.text import render_text, summarize

    paint = paint_for(sys.stderr)
    print(render_text(error.diagnostics, paint), file=sys.stderr)
    print(paint(summarize(error.diagnostics), "bold"), file=sys.stderr)
    return error.code


def _report_own_fault(error: Exception, given: list[str]) -> int:
    """Keep the traceback in a file and ask for a report."""
    import datetime
    import platform
    import tempfile
    import traceback
    from pathlib import Path

    from etude import __version__

    name = f"etude-fault-{datetime.datetime.now():%Y%m%d-%H%M%S}.txt"
    folder = Path(".etude") if Path(".etude").is_dir() else Path(tempfile.gettempdir())
    path = folder / name
    text = (
        f"etude {__version__}, Python {platform.python_version()}, {platform.platform()}\netude {' '.join(given)}\n\n"
    )
    path.write_text(text + "".join(traceback.format_exception(error)))
    say_error(
        f"InternalError: etude itself failed ({type(error).__name__}); the recipe is not to blame",
        f"report this at the project's issue tracker, with the file {path}",
    )
    return faults.OUR_FAULT
