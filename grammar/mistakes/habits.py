"""Words and signs of other languages."""

from __future__ import annotations

from lark import Token

from etude.grammar.faults import SyntaxFault, removing, replacing
from etude.grammar.nodes import Span
from etude.grammar.situation import Situation, span_of

_FUNCTION = "a function is written `fn name(x) = ...` or `fn name(x) { ... return ... }`"
_BINDING = "a value is named by `name = ...` alone"
_MODULE = 'a library module is opened by `use std.ssl`, a file by `use "file.etude" as name`'
_NOTHING_FAILS = "a recipe has no exceptions; what must hold is stated with `expect`"
_WORDS = {
    **dict.fromkeys(("def", "function", "func", "fun", "proc"), _FUNCTION),
    **dict.fromkeys(("import", "from", "include", "require"), _MODULE),
    **dict.fromkeys(("let", "var", "const", "val"), _BINDING),
    **dict.fromkeys(("try", "raise", "throw"), _NOTHING_FAILS),
    "class": "a network is a `model`, and plain data is a record, `{a: 1, b: 2}`",
    "struct": "plain data is a record, `{a: 1, b: 2}`",
    "lambda": "a function without a name is written `x => ...` or `(x, y) => ...`",
    "elif": "write `else if ... then ... else ...`",
    "elsif": "write `else if ... then ... else ...`",
    "assert": 'a claim is written `expect ... because "..."`',
    "async": "independent stages run at the same time by themselves",
    "with": "there is nothing to open or to close",
    "del": "nothing is changed in place; what is not used costs nothing",
    "global": "nothing is changed in place; names of the file are seen everywhere",
    "print": "what should be seen is named in `report { name = ... }`",
    "echo": "what should be seen is named in `report { name = ... }`",
    "mut": _BINDING,
    "pass": "a body ends with `return`",
    "yield": "a list is written `[... for x in xs]`",
    "await": "independent stages run at the same time by themselves",
    "switch": "write `if ... then ... else ...`",
    "match": "write `if ... then ... else ...`",
    "is": "write `==`",
}
_SAME = {"elif": "else if", "elsif": "else if", "is": "==", "assert": "expect"}
"""Words with another spelling here, and nothing else about them different."""


def foreign_word(s: Situation) -> SyntaxFault | None:
    """`def f`, `import x`, `lambda x: ...`, `elif`."""
    token, before = s.token, s.before
    first = s.at(-2)
    if s.is_after_first_name and first.type == "NAME" and first in _WORDS and first.line == before.line:
        return _foreign(s, first, before)
    for word, following in ((before, token), (token, s.at(1))):
        is_refused = word is token
        if word.type == "NAME" and word in _WORDS and (is_refused or _stands_alone(s)):
            return _foreign(s, word, following)
    return None


def _foreign(s: Situation, word: Token, following: Token) -> SyntaxFault:
    message, span, remedy = f"`{word}` is not a word of this language", span_of(word), None
    if _WORDS[word] == _BINDING and following.type == "NAME":
        remedy = removing(Span(span.start, span_of(following).start), str(word))
    elif word in _SAME:
        remedy = replacing(span, str(word), _SAME[word])
    elif word == "import" and following == "std":
        remedy = replacing(span, "import", "use")
    help = _WORDS[word]
    place = next(i for i, token in enumerate(s.tokens) if token.start_pos == word.start_pos)
    if word == "with" and not s.starts_line(place):
        help = "a record with one field replaced is written `{...r, a: 1}`"
    return SyntaxFault("E114", message, span, "another language's", help, remedy=remedy)


def _stands_alone(s: Situation) -> bool:
    """Whether the word before the refused token is directly followed by another word, as keywords are."""
    if s.before == "print":
        return s.is_after_first_name
    return s.token.type in ("NAME", "STRING", "COLON", "LBRACE", "IF", "NOT", "TRUE", "FALSE", "FOR")


def change_in_place(s: Situation) -> SyntaxFault | None:
    """`x += 1`, `x++`, `a.b = 3`, `a[0] = 3`, `x := 1`."""
    if not s.is_after_first_name:
        return None
    name, token, following = s.before, s.token, s.at(1)
    if token == "==":
        help, remedy = f"write `{name} = ...`", replacing(s.span, "==", "=")
        return SyntaxFault("E114", "`==` does not bind a name", s.span, "expected `=`", help, remedy=remedy)
    is_glued = token.end_pos == following.start_pos
    sign = f"{token}{following}"
    if is_glued and sign in (":=", "<-"):
        help = f"write `{name} = ...`"
        remedy = replacing(_both(s), sign, "=")
        return SyntaxFault("E114", f"`{sign}` does not bind a name", _both(s), "expected `=`", help, remedy=remedy)
    if is_glued and (following == "=" or sign in ("++", "--")) and token.type in ("INFIX", "MINUS") and token != "<":
        help = f"give the new value a name of its own: `new_{name} = {name} {token} ...`"
        return SyntaxFault("E114", "nothing is changed in place", _both(s), "not an operator", help)
    if token.type == "DOT" and _is_assigned_field(s):
        help = f"make a new record with one field replaced: `{{...{name}, {following}: ...}}`"
        return SyntaxFault("E114", "nothing is changed in place", s.span, "a field cannot be assigned", help)
    if token.type == "LSQB" and _is_assigned_index(s):
        help = "make a new list or tensor, with `[... for x in xs]` or `where`"
        return SyntaxFault("E114", "nothing is changed in place", s.span, "an element cannot be assigned", help)
    return None


def _is_assigned_field(s: Situation) -> bool:
    i = s.index
    while i + 2 < len(s.tokens) and s.tokens[i].type == "DOT":
        i += 2
    return s.tokens[i].type == "EQUAL"


def _is_assigned_index(s: Situation) -> bool:
    depth = 0
    for i in range(s.index, len(s.tokens) - 1):
        depth += (s.tokens[i] == "[") - (s.tokens[i] == "]")
        if depth == 0:
            return s.tokens[i + 1].type == "EQUAL"
    return False


def _both(s: Situation) -> Span:
    return Span(s.span.start, span_of(s.at(1)).end)


def comment(s: Situation) -> SyntaxFault | None:
    """`// ...` and `/* ... */`, where no operator can stand or right after a line's end."""
    is_mark = s.token == "//" or (s.token == "/" and s.at(1) in ("*", "**") and s.token.end_pos == s.at(1).start_pos)
    if s.token.type == "INFIX" and is_mark:
        remedy = replacing(s.span, "//", "#") if s.token == "//" else None
        help = "write `# ...`"
        return SyntaxFault("E114", "a comment starts with `#`", s.span, "not a comment", help, remedy=remedy)
    if s.token == "@":
        return SyntaxFault("E114", "there are no decorators", s.span, "`@` multiplies matrices", "call the function")
    return None


def string_prefix(s: Situation) -> SyntaxFault | None:
    """`f"..."`, `r"..."`, and three quotes."""
    if s.token.type == "STRING" and s.before == '""' and s.before.end_pos == s.token.start_pos:
        help = "write it on one line, with `\\n` where a line ends"
        return SyntaxFault("E114", "a string has one quote on each side", span_of(s.before), "not a string", help)
    if s.token.type != "STRING" or s.before.type != "NAME" or s.before.end_pos != s.token.start_pos:
        return None
    message, span = "strings have no prefixes", span_of(s.before)
    is_plain = "\\" not in s.token and "{" not in s.token
    remedy = removing(span, str(s.before), is_safe=is_plain)
    help = f"remove the `{s.before}`"
    if s.before == "f" and not is_plain:
        help += '; numbers are put in by `"width " + string(width)`'
    return SyntaxFault("E114", message, span, "not a prefix", help, remedy=remedy)
