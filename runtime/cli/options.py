"""Options of commands: frozen dataclasses whose fields carry their help, read by argparse."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from etude.runtime.cli.faults import UsageError

_KEY = "etude.cli"


def argument(
    help: str,
    *,
    metavar: str,
    many: bool = False,
    default: Any = dataclasses.MISSING,
    parse: Callable[[str], Any] = str,
) -> Any:
    """Declare a positional argument. With `many`, one or more, as a tuple; with a default it may be left out."""
    optional = default is not dataclasses.MISSING
    nargs = ("*" if optional else "+") if many else ("?" if optional else None)
    return _field(default, {"help": help, "metavar": metavar, "nargs": nargs, "type": parse}, flags=())


def option(
    help: str,
    *,
    default: Any = None,
    metavar: str | None = None,
    short: str | None = None,
    name: str | None = None,
    choices: Sequence[str] | None = None,
    many: bool = False,
    parse: Callable[[str], Any] = str,
) -> Any:
    """Declare `--name VALUE`. With `many` it may be given again and again, and gives a tuple."""
    settings = {"help": help, "metavar": metavar, "choices": choices, "type": parse}
    settings["action"] = "append" if many else "store"
    return _field(() if many else default, settings, flags=(short, name))


def flag(help: str, *, short: str | None = None, name: str | None = None) -> Any:
    """Declare `--name`, false unless given."""
    return _field(False, {"help": help, "action": "store_true"}, flags=(short, name))


def _field(default: Any, settings: dict[str, Any], flags: tuple[str | None, ...]) -> Any:
    kept = {key: value for key, value in settings.items() if value is not None}
    return dataclasses.field(default=default, metadata={_KEY: (kept, flags)})


def number_from(least: int) -> Callable[[str], int]:
    """Read a whole number that is not below `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got '{text}'") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a number from {least} on, got {number}")
        return number

    return read


def _permission(text: str) -> str:
    """What `--allow` lets a recipe do."""
    kind, _, name = text.partition(":")
    if text != "external" and not (kind == "plugin" and name):
        raise argparse.ArgumentTypeError(f"expected external or plugin:NAME, got '{text}'")
    return text


@dataclass(frozen=True, kw_only=True)
class Adjustments:
    """What every command that compiles a recipe takes."""

    set: tuple[str, ...] = option("give a param of the recipe another value", metavar="NAME=VALUE", many=True)
    params: str | None = option(
        "give params the values of a file with a line NAME = VALUE for each; --set goes before it",
        metavar="FILE",
    )
    seed: int = option("the seed that all others are made from", metavar="N", default=0, parse=int)
    allow: tuple[str, ...] = option(
        "let the recipe run code that is not Etude: external, or plugin:NAME",
        metavar="WHAT",
        many=True,
        parse=_permission,
    )
    max_stages: int = option("refuse a recipe with more stages", metavar="N", default=100_000, parse=number_from(1))


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, command=self.prog, hint=_nearest_option(self, message))


def _nearest_option(parser: argparse.ArgumentParser, message: str) -> str | None:
    """A did-you-mean for an unknown option."""
    import difflib

    _, found, unknown = message.partition("unrecognized arguments: ")
    if not found or not unknown.startswith("-"):
        return None
    known = [flag for action in parser._actions for flag in action.option_strings]
    close = difflib.get_close_matches(unknown.split()[0].split("=")[0], known, 1)
    return f"did you mean '{close[0]}'?" if close else None


def parser_for(command: str, options: type, description: str, examples: Sequence[tuple[str, str]]) -> Parser:
    """The parser of one command."""
    parser = Parser(
        prog=f"etude {command}",
        description=description,
        epilog="examples:\n" + "".join(f"  {line}\n      {meaning}\n" for line, meaning in examples),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30),
        allow_abbrev=False,
    )
    parser._positionals.title = "arguments"
    for field in dataclasses.fields(options):
        settings, flags = field.metadata[_KEY]
        settings = dict(settings)
        if not flags:
            parser.add_argument(field.name, **settings, **_default(field))
            continue
        short, name = flags
        names = [text for text in (short, name or f"--{field.name.replace('_', '-')}") if text]
        parser.add_argument(*names, dest=field.name, **settings, **_default(field))
    return parser


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Lists are collected from None, so that no default is shared."""
    missing = field.default is dataclasses.MISSING
    return {} if missing else {"default": None if field.default == () else field.default}


def read_options(parser: Parser, options: type, arguments: Sequence[str]) -> Any:
    """Parse the arguments of a command into its options. Raises UsageError."""
    found = vars(parser.parse_intermixed_args(list(arguments)))
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    for field in dataclasses.fields(options):
        if field.default == () and values[field.name] is None:
            values[field.name] = ()
    return _with_params(options(**values))


def _with_params(options: Any) -> Any:
    """The options with what a file of params sets, before what `--set` does. Raises UsageError."""
    if not isinstance(options, Adjustments) or options.params is None:
        return options
    from etude.runtime.cli.params import settings_in

    return dataclasses.replace(options, set=(*settings_in(Path(options.params)), *options.set))
