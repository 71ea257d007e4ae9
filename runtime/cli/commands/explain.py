"""Tell the story behind a diagnostic code: what it means, a wrong example and a right one.

Without a code, all codes are listed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from etude.compiler.render.ansi import Paint
from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument
from etude.runtime.cli.terminal import paint_for

EXAMPLES = (
    ("etude explain E201", "Explain the error E201."),
    ("etude explain", "List all codes."),
)


class Options(OptionSet):
    code: str | None = argument("the code, such as E201", metavar="CODE", default=None)


def run(options: Options) -> int:
    from etude.compiler.explain import codes, explanation, headline

    paint = paint_for(sys.stdout)
    if options.code is None:
        for code in codes():
            print(f"{paint(code, 'bold yellow' if code.startswith('W') else 'bold red')}  {headline(code)}")
        return faults.OK
    code = options.code.upper()
    text = explanation(code)
    if text is None:
        import difflib

        close = difflib.get_close_matches(code, codes(), 3)
        hint = f"there are {', '.join(close)}" if close else "`etude explain` lists all codes"
        raise faults.UsageError(f"there is no diagnostic {code}", hint=hint)
    print("\n".join(_on_terminal(text, paint)))
    return faults.OK


def _on_terminal(text: str, paint: Paint) -> Iterator[str]:
    """Markdown as plain text: headings bold, code set off and coloured."""
    in_code = False
    for line in text.rstrip("\n").splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif in_code:
            yield ("    " + paint(line, "cyan")).rstrip()
        elif line.startswith("#"):
            yield paint(line.lstrip("# "), "bold")
        else:
            yield line
