"""Looking after a store: whether every file in it is sound, and what of it nothing needs any more."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lmc.errors import StoreError
from lmc.specs import RECIPE_VERSION
from lmc.store.leases import Leases
from lmc.store.store import Store, cell_of, is_key

RECORDS = "records"
DAMAGED = "set aside as damaged"
PARTIAL = "temporary files"
ORPHANS = "weights without a record"
STRANGERS = "not of the store"


def files_of(store: Store) -> dict[str, list[Path]]:
    """The files of a store by what they are, but for leases and for weights that have a record."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder, _, names in os.walk(store.root):
        for path in (Path(folder, name) for name in sorted(names)):
            name = path.relative_to(store.root).as_posix()
            hidden = path.name.startswith(".") and cell_of(name.replace("/.", "/").rpartition(".")[0])
            if cell_of(name) and path.suffix == ".json":
                found[RECORDS].append(path)
            elif cell_of(name) and not path.with_suffix(".json").exists():
                found[ORPHANS].append(path)
            elif hidden or path.parent == store.root / "damaged":
                found[PARTIAL if hidden else DAMAGED].append(path)
            elif not cell_of(name) and path.parent != store.root / "leases":
                found[STRANGERS].append(path)
    return found


def verify(store: Store) -> tuple[Counter[str], int, list[str]]:
    """Check every record and weights file against its checksum; damaged ones are set aside and said.

    Returns:
        How many sound cells there are by kind, bytes of their weights, and what is damaged or unreadable.
    """

    def check(path: Path) -> tuple[str, int, str]:
        kind = path.relative_to(store.root).parts[0]
        try:
            record = store.read(kind, path.stem)
            size = store.check_weights(kind, path.stem, record) if record and kind != "measurements" else 0
        except StoreError as error:
            return "unreadable", 0, str(error)
        if path in store.set_aside or not path.exists():
            return "damaged" if path in store.set_aside else "gone meanwhile", 0, ""
        return "models without weights" if kind == "models" and not size else kind, size, ""

    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(check, files_of(store)[RECORDS]))
    problems = [*map(str, store.set_aside), *(problem for _, _, problem in checked if problem)]
    return Counter(kind for kind, _, _ in checked), sum(size for _, size, _ in checked), problems


def prunable(store: Store, keep: frozenset[str] | None = None) -> dict[str, list[Path]]:
    """Files that nothing needs, by the reason; while anybody holds a lease, none that may be in use.

    Watches the leases of other hosts until they are seen to live or are dead (see `lmc.store.leases`).

    Args:
        store: to look through.
        keep: keys of the models to keep; ``None`` for all.

    Raises:
        StoreError: the store is unreadable.
    """
    files = files_of(store)
    useless = {DAMAGED: files[DAMAGED]}
    if not Leases(store.root).settled():
        useless[PARTIAL] = files[PARTIAL]
        useless[ORPHANS] = [path for path in files[ORPHANS] if not path.with_suffix(".json").exists()]
        done = [key for key in store.keys("checkpoints") if _is_done(store, key)]
        useless["checkpoints of finished models"] = _cells(store, "checkpoints", done)
    if keep is not None:
        unneeded = [key for key in store.keys("models") if key not in keep]
        useless["models that no claim needs"] = _cells(store, "models", unneeded)
    return useless


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of the files that are there."""
    return sum(path.stat().st_size for path in paths if path.exists())


def _cells(store: Store, kind: str, keys: list[str]) -> list[Path]:
    both = [path for key in keys for path in (store.record_path(kind, key), store.weights_path(key, kind))]
    return [path for path in both if path.exists()]


def _is_done(store: Store, key: str) -> bool:
    record = store.read("checkpoints", key)
    if record is None or record.get("recipe") != RECIPE_VERSION:
        return record is not None
    specs = record.get("specs")
    if not isinstance(specs, list) or not all(isinstance(each, str) and is_key(each) for each in specs):
        return True  # nobody can go on from it
    return all(store.has("models", spec) for spec in specs)
