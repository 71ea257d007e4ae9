"""`python -m etude` and the `etude` command."""

import gc
import sys
from typing import Any


def main() -> int:
    """Run the command line and give its exit code."""
    try:
        _import_msgspec()
        from etude.runtime.cli import ending
        from etude.runtime.cli.frames import with_room
        from etude.runtime.cli.main import main as run

        # trees and graphs have few cycles: looking for them takes a tenth of a check, and a second of a large one
        gc.set_threshold(2_000_000, 20, 100)
        ending.own_process()
        result = with_room(run)
        ending.end_at_once(result)
    except KeyboardInterrupt:  # before the command line, or after it: there is nothing to say, and no trace to show
        return 130
    gc.freeze()  # the process ends: what is left needs no last search for cycles, which takes a tenth of a check, too
    return result


def _import_msgspec() -> None:
    """Import it without typing_extensions, in which it only looks for what typing has since Python 3.11.

    That module reads much of the standard library with `inspect`, which takes a tenth of a short check.
    """
    absent: Any = None  # what Python takes for a module that there is not
    sys.modules.setdefault("typing_extensions", absent)
    import msgspec  # noqa: F401

    if sys.modules["typing_extensions"] is None:
        del sys.modules["typing_extensions"]


if __name__ == "__main__":
    sys.exit(main())
