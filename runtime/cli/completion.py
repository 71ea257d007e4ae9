"""Completion scripts, made from the parsers: nothing of Etude runs while somebody presses the tab key."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from etude.runtime.cli.main import command_names, find_command
from etude.runtime.cli.options import parser_for


@dataclass(frozen=True, slots=True)
class Flag:
    """An option as shells need it."""

    names: tuple[str, ...]
    help: str
    choices: tuple[str, ...]
    takes_value: bool


def flags_of(command: str) -> list[Flag]:
    """The options of a command."""
    module = find_command(command)
    parser = parser_for(command, module.Options, module.__doc__ or "", module.EXAMPLES)
    return [_flag(action) for action in parser._actions if action.option_strings]


def _flag(action: argparse.Action) -> Flag:
    choices = tuple(map(str, action.choices or ()))
    return Flag(tuple(action.option_strings), action.help or "", choices, action.nargs != 0)


def summaries() -> dict[str, str]:
    """The first line of what each command does."""
    return {name: (find_command(name).__doc__ or "").splitlines()[0].rstrip(".") for name in command_names()}


def bash() -> str:
    """A function for `complete -F`."""
    lines = [
        "_etude() {",
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}"',
        "  local words=''",
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f'    COMPREPLY=($(compgen -W "{" ".join(command_names())}" -- "$word")); return',
        "  fi",
        '  case "$command $before" in',
        *(f"    {case}" for case in _bash_choices()),
        "  esac",
        '  [ "$COMP_CWORD" -eq 2 ] && [[ "$word" != -* ]] && case "$command" in',
        *(f'    {name}) words="{" ".join(inner)}" ;;' for name in command_names() if (inner := _inner_names(name))),
        "  esac",
        '  [ -z "$words" ] && case "$command" in',
        *(f'    {name}) [[ "$word" == -* ]] && words="{_all_names(name)}" ;;' for name in command_names()),
        "  esac",
        '  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); return; fi',
        '  COMPREPLY=($(compgen -f -X "!*.etude" -- "$word") $(compgen -d -S / -- "$word"))',
        "}",
        "complete -o nospace -o filenames -F _etude etude",
    ]
    return "\n".join(lines) + "\n"


def _bash_choices() -> Iterator[str]:
    for command in command_names():
        for flag in flags_of(command):
            if flag.choices:
                pattern = "|".join(f'"{command} {name}"' for name in flag.names)
                yield f'{pattern}) words="{" ".join(flag.choices)}" ;;'


def _all_names(command: str) -> str:
    """The options of a command, and of those below it."""
    commands = [command, *(f"{command} {inner}" for inner in _inner_names(command))]
    return " ".join(dict.fromkeys(name for each in commands for flag in flags_of(each) for name in flag.names))


def _inner_names(command: str) -> list[str]:
    """What may stand after a command that has others below it."""
    return [name.removeprefix(f"{command} ") for name in command_names(command)]


def zsh() -> str:
    """The bash function, through zsh's own bridge."""
    return "autoload -Uz bashcompinit && bashcompinit\n" + bash()


def fish() -> str:
    """One `complete` line for each command and option."""
    lines = ["complete -c etude -f"]
    for name, summary in summaries().items():
        lines.append(f"complete -c etude -n __fish_use_subcommand -a {name} -d {_quoted(summary)}")
        inside = f"complete -c etude -n '__fish_seen_subcommand_from {name}'"
        lines.append(f"{inside} -a '(__fish_complete_suffix .etude)'")
        for flag in flags_of(name):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in flag.names)
            values = f" -x -a '{' '.join(flag.choices)}'" if flag.choices else " -r" if flag.takes_value else ""
            lines.append(f"{inside} {names} -d {_quoted(flag.help)}{values}")
        if inner := _inner_names(name):
            lines.append(f"{inside} -a {_quoted(' '.join(inner))}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
