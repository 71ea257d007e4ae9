"""The tokens that the parser reads: text with its kind and its place."""

from __future__ import annotations


class Token(str):
    """A piece of the source text; `type` is the name of its terminal, the positions count code points."""

    __slots__ = ("end_pos", "start_pos", "type")

    type: str
    start_pos: int
    end_pos: int

    def __new__(cls, type: str, text: str, start: int, end: int) -> Token:
        token = str.__new__(cls, text)
        token.type, token.start_pos, token.end_pos = type, start, end
        return token
