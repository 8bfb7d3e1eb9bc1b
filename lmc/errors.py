"""The errors a user can cause; each message names the value and the remedy."""

from __future__ import annotations


class LmcError(Exception):
    """Base of every error this package raises on purpose."""


class SpecError(LmcError, ValueError):
    """A setting is unknown or out of range."""


class DataError(LmcError):
    """A dataset is missing, unreadable or of the wrong shape."""


class StoreError(LmcError):
    """The store cannot be read or written."""


class MergeError(LmcError, ValueError):
    """Models or weights that cannot be merged."""


class DeviceError(LmcError):
    """The requested device is not there, or does not do what it was told."""


def in_one_line(error: BaseException) -> str:
    """What went wrong in someone else's code: the kind of the error and what it says, at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
