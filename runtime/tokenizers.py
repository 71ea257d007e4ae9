"""Tokenizers as JSON: fitted with the library `tokenizers`, so that equal texts give equal bytes on any machine.

The library numbers some pieces in the order of a hash table, which differs from process to process. So the alphabet is
counted and ordered here, and given to it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from etude.runtime.stages import StageError

PAD, UNK, MASK, BOS, EOS = range(5)
# With a space, which no piece of a text has: all algorithms cut there, or write it as another sign.
SPECIAL = ("<pad token>", "<unk token>", "<mask token>", "<bos token>", "<eos token>")
PREFIX = "##"  # of pieces that do not begin a word
Texts = Callable[[], Iterable[str]]


def library(threads: int = 1) -> ModuleType:
    """The library, which reads from the environment how many threads it may use. Raises `StageError`."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        hint = 'pip install "etude-lang[data]"'
        raise StageError('tokenizers need "tokenizers", which is not installed', hint=hint) from error
    return tokenizers


def fitted(algorithm: str, vocab: int, texts: Texts, *, lowercase: bool = False) -> str:
    """The JSON of a tokenizer that has at most `vocab` tokens, the special ones first; `texts` can be read again."""
    tokenizers = library()
    normalizer = tokenizers.normalizers.Lowercase() if lowercase else None
    tokenizer = _MAKERS[algorithm](tokenizers, vocab, _normal(texts, lowercase=lowercase))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    assert tokenizer.get_vocab_size() <= vocab, f"{tokenizer.get_vocab_size()} tokens, of {vocab}"
    return str(tokenizer.to_str())


def opened(data: bytes, threads: int = 1) -> Any:
    """The tokenizer of what `fitted` gave."""
    return library(threads).Tokenizer.from_str(data.decode())


def encoded(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, without special ones."""
    return [found.ids for found in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def decoded(tokenizer: Any, ids: Sequence[int], end: int) -> str:
    """The text of tokens up to the first `end`; special tokens have none, and numbers that are no tokens."""
    ids = list(ids)
    ids = ids[: ids.index(end)] if end in ids else ids
    count = tokenizer.get_vocab_size()
    return str(tokenizer.decode([id for id in ids if len(SPECIAL) <= id < count], skip_special_tokens=False))


def _normal(texts: Texts, *, lowercase: bool) -> Texts:
    return (lambda: (text.lower() for text in texts())) if lowercase else texts


# --- one maker for each algorithm ---


def _bpe(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    tokenizer = _byte_level(tokenizers, tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL),
        initial_alphabet=_bytes_alphabet(tokenizers),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    made = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in made["merges"]]
    return _byte_level(tokenizers, tokenizers.models.BPE(made["vocab"], merges))


def _bytes(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    alphabet = [*SPECIAL, *_bytes_alphabet(tokenizers)]
    return _byte_level(tokenizers, tokenizers.models.BPE(_numbered(alphabet), []))


def _byte_level(tokenizers: Any, model: Any) -> Any:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def _bytes_alphabet(tokenizers: Any) -> list[str]:
    return sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def _char(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    alphabet = _frequent((character for text in texts() for character in text), vocab - len(SPECIAL))
    model = tokenizers.models.BPE(_numbered([*SPECIAL, *alphabet]), [], unk_token=SPECIAL[UNK])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.decoder = tokenizers.decoders.Fuse()
    return tokenizer


def _words(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    split = tokenizers.pre_tokenizers.Whitespace()
    pieces = (word for text in texts() for word, _ in split.pre_tokenize_str(text))
    words = _frequent(pieces, vocab - len(SPECIAL))
    model = tokenizers.models.WordLevel(_numbered([*SPECIAL, *words]), unk_token=SPECIAL[UNK])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = split
    return tokenizer


def _wordpiece(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    split = tokenizers.pre_tokenizers.BertPreTokenizer()
    characters = (character for text in texts() for word, _ in split.pre_tokenize_str(text) for character in word)
    alphabet = sorted(_frequent(characters, max(1, (vocab - len(SPECIAL)) // 4)))
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocab,
        special_tokens=[*SPECIAL, *alphabet, *(PREFIX + character for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=SPECIAL[UNK]))
    trained.pre_tokenizer = split
    trained.train_from_iterator(texts(), trainer)
    model = tokenizers.models.WordPiece(trained.get_vocab(), unk_token=SPECIAL[UNK], continuing_subword_prefix=PREFIX)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = tokenizers.decoders.WordPiece(prefix=PREFIX)
    return tokenizer


def _unigram(tokenizers: Any, vocab: int, texts: Texts) -> Any:
    from etude.runtime.unigram import pieces_of

    split = tokenizers.pre_tokenizers.Metaspace()
    words = Counter(word for text in texts() for word, _ in split.pre_tokenize_str(text))
    pieces = pieces_of(words, vocab - len(SPECIAL))
    lowest = min((score for _, score in pieces), default=0.0) - 100.0
    model = tokenizers.models.Unigram([*((token, lowest) for token in SPECIAL), *pieces], unk_id=UNK)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    return tokenizer


_MAKERS: dict[str, Callable[[Any, int, Texts], Any]] = {
    "bpe": _bpe,
    "bytes": _bytes,
    "char": _char,
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "words": _words,
}


def _frequent(items: Iterable[str], count: int) -> list[str]:
    """The most frequent items; of equally frequent ones the first in the order of their characters."""
    counts = Counter(items)
    return sorted(counts, key=lambda item: (-counts[item], item))[:count]


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def read_texts(column: Any, rows: int = 1024) -> Iterator[str]:
    """The texts of a column, some of them in memory at a time."""
    for start in range(0, len(column), rows):
        yield from column[start : start + rows]
