"""What the commands below `store` share: their options, and sizes for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.execution import DEFAULT_STORE, opened_store
from etude.runtime.cli.options import OptionSet, flag, option
from etude.runtime.cli.terminal import print_json

if TYPE_CHECKING:
    from etude.runtime.store import Store


class StoreOptions(OptionSet):
    """Options of every command about a store."""

    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    json: bool = flag("print one JSON object")


class RemoteOptions(StoreOptions):
    """Options of the commands that need a second store."""

    remote: str | None = option("the second store (default: etude.toml's)", metavar="URL")


def refuse_none_named(store: Store) -> None:
    """Raise UsageError where no second store was named."""
    if store.remote is None:
        hint = 'name it with --remote URL, or in etude.toml: [store] remote = "s3://bucket/folder"'
        raise faults.UsageError("no second store is named", hint=hint)


def existing_store(options: StoreOptions, *, make: bool = False) -> Store:
    """The store, which must be there unless it is to be made. Raises UsageError, StoreError."""
    if not make and not options.store.is_dir():
        hint = "`etude run FILE` makes one; --store names another"
        raise faults.UsageError(f"there is no store {options.store}", hint=hint)
    return opened_store(options.store, getattr(options, "remote", None), options.store.parent)


def answer(options: StoreOptions, json: dict[str, Any], text: str) -> None:
    """Print what a command found or did."""
    if options.json:
        print_json(json)
    else:
        print(text)


def tell(text: str) -> None:
    """Say on a terminal how far a long command is."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def size_text(count: float) -> str:
    """A number of bytes for people.

    >>> size_text(999), size_text(1_234_567)
    ('999 B', '1.2 MB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    unit = "B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):  # noqa: B007  # the last one is what is wanted
        count /= 1000
        if count < 999.95:
            break
    return f"{count:.1f} {unit}"


def count_text(count: int, noun: str) -> str:
    """A number of things.

    >>> count_text(1, "run"), count_text(12, "object")
    ('1 run', '12 objects')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
