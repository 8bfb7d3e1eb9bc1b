"""A lock on an open file that ends with the process that holds it, on any system. None is ever waited for."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _PLACE = 1 << 30
    """Where the locked byte lies: others cannot read what is locked, so it is one beyond all content."""

    def lock(descriptor: int) -> bool:
        """Take the lock, unless somebody else has it."""
        here = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, here, os.SEEK_SET)
        return True

else:
    try:
        import fcntl
    except ImportError:  # no lock, as on some network file systems: leases still die when they stand still

        def lock(descriptor: int) -> bool:
            """Take no lock; there is none to be had on this system."""
            return False

    else:

        def lock(descriptor: int) -> bool:
            """Take the lock, unless somebody else has it."""
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True
