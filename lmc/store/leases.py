"""Leases: which cells of a store are being made, so that two runs or hosts do not make the same one.

A lease is a file, named by the cell's key and created exclusively, in which its holder counts on. A watcher
takes it for dead once the count has stood still over `STALE_AFTER` seconds of the watcher's own monotonic
clock: no two clocks are ever compared. Under one kernel a lock on the file tells at once that its holder is
gone. Only effort depends on a lease. Should a holder lose it by being slow, the cell is made twice, and each
time atomically and to the same content.
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import json
import os
import platform
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from lmc import host
from lmc.errors import StoreError
from lmc.store.locks import lock

BEAT = 15.0
"""Seconds between two counts of a holder."""
STALE_AFTER = 120.0
"""Seconds without a count after which a lease is dead; NFS may show an old one for up to 60."""
UNSIGNED_AFTER = 2.0
"""Seconds after which a lease in which nothing stands, and which nobody has locked, is that of a holder who died
before signing it."""
POLL = 1.0
"""Seconds between two looks at the leases of others."""

_AS_BYTES = getattr(os, "O_BINARY", 0)
"""Windows would change what it takes for the end of a line."""
_OPEN_FILES_STAY = os.name == "nt"
"""Windows removes no file that is open; between closing and removing it, another may take the lease for dead."""


class Leases:
    """The leases of one store. An object remembers what it saw of others, and since when.

    Args:
        root: the store's folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "leases"
        self._seen: dict[str, tuple[bytes, float]] = {}

    @contextlib.contextmanager
    def claim(self, keys: Collection[str]) -> Iterator[bool]:
        """Hold the leases of all ``keys`` meanwhile; yields whether they could be had.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._holding(keys, whole=True) as held:
            yield len(held) == len(keys)

    @contextlib.contextmanager
    def claim_each(self, keys: Collection[str]) -> Iterator[frozenset[str]]:
        """Hold those leases of ``keys`` meanwhile that could be had; yields their keys. Each is an open file.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._holding(keys, whole=False) as held:
            yield held

    @contextlib.contextmanager
    def _holding(self, keys: Collection[str], *, whole: bool) -> Iterator[frozenset[str]]:
        """Hold what can be had; where it must be the ``whole``, none if one cannot."""
        held: dict[Path, int] = {}
        try:
            for path in sorted(self.folder / key for key in keys):
                descriptor = self._create(path)
                if descriptor is not None:
                    held[path] = descriptor
                elif whole:
                    _release(held)
                    break
            with _counting(held.values()) if held else contextlib.nullcontext():
                yield frozenset(path.name for path in held)
        finally:
            _release(held)

    def others(self) -> dict[str, bytes]:
        """What stands in every living lease, by key; dead ones are removed."""
        try:
            paths = [path for path in self.folder.iterdir() if not path.name.startswith(".")]  # NFS hides what is open
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"cannot read {self.folder}: {error.strerror}; choose another store") from error
        return {path.name: content for path in paths if (content := self._living(path)) is not None}

    def settled(self) -> dict[str, bytes]:
        """As `others`, once those of other hosts have been seen to count on; takes up to `STALE_AFTER` seconds."""
        found = self.others()
        first = {key: content for key, content in found.items() if _holder(content).get("kernel") != host.kernel()}
        while any(found.get(key) == content for key, content in first.items()):
            time.sleep(POLL)
            found = self.others()
        return found

    def _create(self, path: Path) -> int | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _AS_BYTES, 0o644)
            except FileExistsError:
                if self._living(path) is not None:
                    return None
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _AS_BYTES, 0o644)
        except FileExistsError:
            return None
        except OSError as error:
            remedy = "choose a writable store (--lmc-store or LMC_STORE)"
            raise StoreError(f"cannot write {path}: {error.strerror}; {remedy}") from error
        locked = lock(descriptor)
        holder = {"host": platform.node(), "process": os.getpid(), "kernel": host.kernel() if locked else None}
        with contextlib.suppress(OSError):  # on a full disk an empty lease does as well
            os.write(descriptor, b"%12d %s" % (0, json.dumps({**holder, "name": os.urandom(8).hex()}).encode()))
            _flush(descriptor)
        return descriptor

    def _living(self, path: Path) -> bytes | None:
        """What stands in a lease; ``None`` where there is none, or it was dead and is removed."""
        try:
            try:
                descriptor = os.open(path, os.O_RDWR | _AS_BYTES)
            except PermissionError:
                descriptor = os.open(path, os.O_RDONLY | _AS_BYTES)
        except OSError:
            return None
        dead = False
        try:
            content, now = os.read(descriptor, 4096), time.monotonic()
            before, since = self._seen.get(path.name, (b"", now))
            if before != content:
                since = now
            self._seen[path.name] = content, since
            locked_here = _holder(content).get("kernel") == host.kernel()
            unsigned = not content and now - since >= UNSIGNED_AFTER
            dead = now - since >= STALE_AFTER or ((locked_here or unsigned) and lock(descriptor))
            return None if dead else content
        finally:
            if dead:
                _remove(path, descriptor)
            else:
                os.close(descriptor)


def describe(content: bytes) -> str:
    """Who holds the lease in which ``content`` stands."""
    holder = _holder(content)
    return f"{holder.get('host', 'unknown')} (process {holder.get('process', 'unknown')})"


def _holder(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content[12:])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _remove(path: Path, descriptor: int) -> None:
    """Close and remove the lease that ``descriptor`` is open on, not one that has taken its place."""
    ours = False
    with contextlib.suppress(OSError):
        ours = os.path.samestat(os.stat(path), os.fstat(descriptor))
    if ours and not _OPEN_FILES_STAY:  # the lock is held until it is gone
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(descriptor)
    if ours and _OPEN_FILES_STAY:
        with contextlib.suppress(OSError):
            path.unlink()


def _release(held: dict[Path, int]) -> None:
    """Give back the leases of descriptors, by their paths."""
    while held:
        _remove(*held.popitem())


def _flush(descriptor: int) -> None:
    os.close(os.dup(descriptor))  # NFS sends what was written to its server whenever a descriptor is closed


@contextlib.contextmanager
def _counting(descriptors: Collection[int]) -> Iterator[None]:
    stop, writing = threading.Event(), threading.Lock()

    def count() -> None:
        for number in itertools.count(1):
            if stop.wait(BEAT):
                return
            with writing:
                if stop.is_set():
                    return
                for descriptor in descriptors:
                    with contextlib.suppress(OSError):
                        os.lseek(descriptor, 0, os.SEEK_SET)
                        os.write(descriptor, b"%12d" % number)
                        _flush(descriptor)

    _thread.start_new_thread(count, ())  # without memory, threading.Thread.start() may wait forever
    try:
        yield
    finally:
        stop.set()
        with writing:
            pass
