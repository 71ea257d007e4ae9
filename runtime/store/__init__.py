"""The store, `.etude/`: objects by content hash, one record per key, a folder per run. Imports stay light.

An object is written to a temporary name, synced, renamed, and its folder synced; the record that points at it comes
last. So whatever a record names is complete, and a killed process leaves at most a file in `tmp/`.
"""

from etude.runtime.store.errors import DamagedObject, LostObject, MissingObject, StoreError
from etude.runtime.store.leases import Leases
from etude.runtime.store.objects import Objects
from etude.runtime.store.records import Record, Records
from etude.runtime.store.store import Store

__all__ = [
    "DamagedObject",
    "Leases",
    "LostObject",
    "MissingObject",
    "Objects",
    "Record",
    "Records",
    "Store",
    "StoreError",
]
