"""Options of commands: frozen structs whose fields carry their help, read by argparse.

No dataclasses: their module imports `inspect`, which takes a tenth of a short check.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn, dataclass_transform

from msgspec import NODEFAULT, Struct, StructMeta
from msgspec.structs import replace

from etude.runtime.cli.faults import UsageError


class Declared(NamedTuple):
    """What argparse is told of a field, and the names of its flag; a positional argument has none."""

    default: Any
    settings: dict[str, Any]
    flags: tuple[str | None, ...]


def argument(
    help: str,
    *,
    metavar: str,
    many: bool = False,
    default: Any = NODEFAULT,
    parse: Callable[[str], Any] = str,
) -> Any:
    """Declare a positional argument. With `many`, one or more, as a tuple; with a default it may be left out."""
    optional = default is not NODEFAULT
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
    return Declared(default, kept, flags)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(argument, option, flag))
class _Declaring(StructMeta):
    """Takes what is declared of the fields out of the body of a class, and leaves their defaults."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **settings: Any) -> Any:
        declared = {field: value for field, value in body.items() if isinstance(value, Declared)}
        inherited = {field: value for base in bases for field, value in getattr(base, "declared", {}).items()}
        body |= {field: value.default for field, value in declared.items()}
        body["declared"] = inherited | declared
        return super().__new__(cls, name, bases, body, **{"frozen": True, "kw_only": True} | settings)


class OptionSet(Struct, metaclass=_Declaring):
    """What a command is given. Its fields are made by `argument`, `option` and `flag`."""

    declared: ClassVar[dict[str, Declared]]


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


class Adjustments(OptionSet):
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


def parser_for(command: str, options: type[OptionSet], description: str, examples: Sequence[tuple[str, str]]) -> Parser:
    """The parser of one command."""
    parser = Parser(
        prog=f"etude {command}",
        description=description,
        epilog="examples:\n" + "".join(f"  {line}\n      {meaning}\n" for line, meaning in examples),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30),
        allow_abbrev=False,
    )
    parser._positionals.title = "arguments"
    for field, declared in options.declared.items():
        if not declared.flags:
            parser.add_argument(field, **declared.settings, **_default(declared))
            continue
        short, name = declared.flags
        names = [text for text in (short, name or f"--{field.replace('_', '-')}") if text]
        parser.add_argument(*names, dest=field, **declared.settings, **_default(declared))
    return parser


def _default(declared: Declared) -> dict[str, Any]:
    """Lists are collected from None, so that no default is shared."""
    missing = declared.default is NODEFAULT
    return {} if missing else {"default": None if declared.default == () else declared.default}


def read_options(parser: Parser, options: type[OptionSet], arguments: Sequence[str]) -> Any:
    """Parse the arguments of a command into its options. Raises UsageError."""
    found = vars(parser.parse_intermixed_args(list(arguments)))
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    for field, declared in options.declared.items():
        if declared.default == () and values[field] is None:
            values[field] = ()
    return _with_params(options(**values))


def _with_params(options: Any) -> Any:
    """The options with what a file of params sets, before what `--set` does. Raises UsageError."""
    if not isinstance(options, Adjustments) or options.params is None:
        return options
    from etude.runtime.cli.params import settings_in

    return replace(options, set=(*settings_in(Path(options.params)), *options.set))
