"""Runs on their way to the second store and back: objects, then records, then the folder of the run as a small file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.runtime.store.archive import ArchiveError, Contents, export_run, import_run
from etude.runtime.store.errors import StoreError
from etude.runtime.store.files import temporary
from etude.runtime.store.reach import Reach
from etude.runtime.store.remote import Remote
from etude.runtime.store.store import Store

Json = Any
RUN_FILE = re.compile(r"([0-9A-Za-z][0-9A-Za-z.-]{0,99})\.tar")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a push sent; what was there already is not counted."""

    run: str
    objects: int
    records: int
    bytes: int


def push_run(store: Store, run: str, *, verify: bool = False) -> Sent:
    """Send a run and all that it needs to the second store; `verify` what is there already. Raises `StoreError`."""
    remote = second_store(store)
    folder = store.runs / run
    records = Reach.of_run(folder).records(store)
    objects = sent_bytes = 0
    for hash in sorted(Reach.of_run(folder).with_objects_of(records).objects):
        path = store.objects.path(hash)  # sound, or it is not sent
        size = path.stat().st_size
        if remote.put_object(hash, path, size, verify=verify):
            objects, sent_bytes = objects + 1, sent_bytes + size
    sent = sum(remote.put_record(record.key, store.records.locate(record.key)) for record in records)
    with temporary(store.scratch) as (_, draft):
        export_run(store, run, draft, with_objects=False)
        remote.put_run(run, draft)
    return Sent(run=run, objects=objects, records=sent, bytes=sent_bytes)


def pull_run(store: Store, run: str) -> Contents:
    """Bring a run here from the second store, with all that it needs. Raises `StoreError`."""
    remote = second_store(store)
    data = remote.run(run)
    if data is None:
        known = runs_of(remote)
        raise ArchiveError(
            f"there is no run '{run}'", path=Path(remote.url), hint=f"there are {', '.join(known) or 'none'}"
        )
    return import_run(store, io.BytesIO(data))


def runs_of(remote: Remote) -> list[str]:
    """The ids of the runs in the second store, sorted."""
    return sorted(found[1] for name in remote.run_files() if (found := RUN_FILE.fullmatch(name)))


def second_store(store: Store) -> Remote:
    """The second store that was named. Raises `StoreError` when none was."""
    if store.remote is None:
        hint = 'name it with --remote URL, or in etude.toml: [store] remote = "s3://bucket/folder"'
        raise StoreError("no second store is named", path=store.root, hint=hint)
    return store.remote
