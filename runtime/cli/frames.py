"""Room for the frames of deep recursion in one piece."""

from __future__ import annotations

from collections.abc import Callable

SLOTS = 140_000
"""What the frame below asks for: 1.1 MB, of which it touches nothing."""


def with_room(command: Callable[[], int]) -> int:
    """Call a function whose calls go deep.

    CPython keeps the frames of Python functions in chunks of 16 KiB, and gives a chunk back to the system as soon as it
    is empty: where calls in a loop cross the end of one, memory is mapped and unmapped for each of them, which was a
    fifth of the check of a large recipe. The frame of this function asks for so much that its chunk is one of 2 MiB,
    and what is called has the rest of it.
    """
    return command()


with_room.__code__ = with_room.__code__.replace(co_stacksize=SLOTS)
