"""Break the text of a box into lines of similar length."""

from __future__ import annotations


def wrap(text: str, width: int, most: int = 6) -> list[str]:
    """Lines of about `width` characters, broken at blanks; [] for no text. More than `most` lines end in "…".

    >>> wrap("a student keeps the accuracy", 12)
    ['a student', 'keeps the', 'accuracy']
    """
    words = text.split()
    if not words:
        return []
    total = len(" ".join(words))
    goal = max(total / -(-total // width), max(map(len, words[:1])))
    lines: list[str] = []
    line = words[0]
    for word in words[1:]:
        longer = len(line) + 1 + len(word)
        if longer > width or (longer - goal > goal - len(line) and len(lines) + 1 < -(-total // width)):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}"
    lines.append(line)
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]
