"""Check several settings of one call, and report what is wrong with each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from etude.compiler.calls import CallSite
from etude.compiler.faults import Poisoned
from etude.compiler.values import POISON


class Checks(Struct):
    """Runs checks that do not depend on each other. What fails is reported at once, and ends the call at `end`."""

    site: CallSite
    failed: bool = False

    def __call__(self, check: Callable[[], Any], otherwise: Any = None) -> Any:
        """What a check gives, or `otherwise` where it fails."""
        found = self.site.evaluator.guarded(check)
        if found is not POISON:
            return found
        self.failed = True
        return otherwise

    def end(self) -> None:
        """Go no further if anything has failed."""
        if self.failed:
            raise Poisoned
