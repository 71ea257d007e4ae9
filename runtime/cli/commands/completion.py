"""Print a script that completes commands, options and recipes in the shell."""

from __future__ import annotations

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument

EXAMPLES = (
    ('eval "$(etude completion bash)"', "Complete in this shell; put the line into ~/.bashrc for all."),
    ("etude completion fish > ~/.config/fish/completions/etude.fish", "Complete in fish."),
)


class Options(OptionSet):
    shell: str = argument("bash, zsh or fish", metavar="SHELL")


def run(options: Options) -> int:
    from etude.runtime.cli.completion import SCRIPTS

    if options.shell not in SCRIPTS:
        raise faults.UsageError(f"no completion for '{options.shell}'", hint=f"there are {', '.join(SCRIPTS)}")
    print(SCRIPTS[options.shell](), end="")
    return faults.OK
