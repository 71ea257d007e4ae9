"""Put what PyTorch code makes from nothing on the device of its inputs."""

from __future__ import annotations

import re

from etude.backends.emission.layout import closing

MAKERS = re.compile(
    r"\b(?:torch\.(?:arange|zeros|ones|eye|full|tensor)|random\.(?:uniform|normal|gumbel|bernoulli|beta|randint|permutation))\("
)
DEVICE = "device=device"


def on_device(text: str) -> str:
    """`text`, an expression, with an argument `device=device` for everything that makes a tensor.

    Numbers too: sums and comparisons take them from the host, but to stack or to broadcast one has to be there.

    >>> on_device("torch.eye(2 * b) > torch.full((), 0.5)")
    'torch.eye(2 * b, device=device) > torch.full((), 0.5, device=device)'
    """
    for match in reversed(list(MAKERS.finditer(text))):
        end = closing(text, match.end() - 1)
        if not text.endswith(DEVICE, match.start(), end):
            text = f"{text[:end]}, {DEVICE}{text[end:]}"
    return text


def settle(lines: list[str], outputs: list[str], source: str | None) -> tuple[list[str], list[str]]:
    """Say which device: in place where one thing is made, else once in front. `source` is an input, if there is one."""
    count = sum(text.count(DEVICE) for text in (*lines, *outputs))
    if not count:
        return lines, outputs
    if source is not None and count > 1:
        return [f"device = {source}.device", *lines], outputs
    there = f"device={source}.device"
    found = (f", {DEVICE}", "") if source is None else (DEVICE, there)
    return [text.replace(*found) for text in lines], [text.replace(*found) for text in outputs]
