"""Durations in words."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """A duration in the two largest units that matter.

    >>> duration_text(0.012), duration_text(4.21), duration_text(75), duration_text(7300)
    ('12 ms', '4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def clock_text(seconds: float) -> str:
    """A duration as on a stopwatch.

    >>> clock_text(75.4), clock_text(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
