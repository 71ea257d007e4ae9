"""`python -m etude` and the `etude` command."""

import gc
import sys


def main() -> int:
    """Run the command line and give its exit code."""
    try:
        from etude.runtime.cli.main import main as run

        # trees and graphs have few cycles: looking for them takes a tenth of a check, and a second of a large one
        gc.set_threshold(2_000_000, 20, 100)
        result = run()
    except KeyboardInterrupt:  # before the command line, or after it: there is nothing to say, and no trace to show
        return 130
    gc.freeze()  # the process ends: what is left needs no last search for cycles, which takes a tenth of a check, too
    return result


if __name__ == "__main__":
    sys.exit(main())
