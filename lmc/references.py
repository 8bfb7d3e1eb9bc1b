"""Names in somebody else's code, ``package.module:name``: what they name, and their modules in other processes."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from types import ModuleType

from lmc.errors import SpecError, in_one_line


def find(reference: str, *, option: str, example: str, wanted: str) -> object:
    """What ``package.module:name`` names; its module is imported, also from the current folder.

    Args:
        reference: the name.
        option: what it was given for, for error messages.
        example: a reference of the kind that is meant.
        wanted: what it should name, for error messages.

    Raises:
        SpecError: it is of another form, or there is no such module or name.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise SpecError(f"{option} is {reference!r}; write package.module:name, e.g. {example}")
    found: object = import_from(module_name, os.getcwd())
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise SpecError(f"{module_name} has no {attribute!r} ({error}); name {wanted}") from error
    return found


def import_from(module_name: str, folder: str) -> ModuleType:
    """Import a module from ``folder`` or an installed package; what it imports later is looked for in both, too.

    Raises:
        SpecError: it cannot be imported.
    """
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs the reader's own code, which may even exit
        raise SpecError(
            f"cannot import {module_name!r}: {in_one_line(error)}; it must import without running anything "
            "(a script guards that by __name__), from the current folder or an installed package"
        ) from error
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)  # last: nothing in it is taken for an installed package


@dataclass(frozen=True)
class Modules:
    """Modules of somebody else's that a run needs in every process, for what they register.

    Args:
        names: of the modules.
        folder: where they may lie if they are not installed; empty for the current one.
    """

    names: tuple[str, ...] = ()
    folder: str = ""

    def load(self) -> None:
        """Import them, each once in a process.

        Raises:
            SpecError: one cannot be imported.
        """
        for name in self.names:
            if name not in sys.modules:
                import_from(name, self.folder)
