"""Break the text of a box into lines of similar length."""

from __future__ import annotations

SEPARATOR = " \u00b7 "
TOGETHER = 16  # characters of a short part between separators, as "eps 1e-08", which stays on one line


def wrap(text: str, width: int, most: int = 6) -> list[str]:
    """Lines of about `width` characters, broken at blanks; [] for no text. More than `most` lines end in "…".

    A setting stays with its value, and so does what is short between two separators.

    >>> wrap("a student keeps the accuracy", 12)
    ['a student', 'keeps the', 'accuracy']
    """
    words = _words(text)
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


def _words(text: str) -> list[str]:
    """What is not broken.

    >>> _words("adam \u00b7 eps 1e-08 \u00b7 at confidence = 90%")
    ['adam \u00b7', 'eps 1e-08 \u00b7', 'at', 'confidence = 90%']
    """
    parts = [part for part in text.split(SEPARATOR) if part.split()]
    words: list[str] = []
    for part in parts:
        found = [" ".join(part.split())] if len(part) <= TOGETHER and len(parts) > 1 else _settings(part.split())
        words += found
        if part is not parts[-1]:
            words[-1] += SEPARATOR.rstrip()
    return words


def _settings(words: list[str]) -> list[str]:
    """The words with `name = value` as one."""
    found: list[str] = []
    for word in words:
        if found and (word == "=" or found[-1].endswith(" =")):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found
