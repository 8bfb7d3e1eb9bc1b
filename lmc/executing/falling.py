"""Verdicts as they fall: a case is judged as soon as all that it rests on is measured."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lmc.claims.cases import Case, CaseResult, judge, needed
from lmc.results.wording import measured_in_words
from lmc.store.store import Store

_COLUMNS = 94  # of a line, after "lmc: "


class Falling:
    """The cases of a run, of which some still wait for measurements.

    Args:
        selected: all cases.
        missing: keys of the measurements that are to be made.
        store: where they will stand.
    """

    def __init__(self, selected: Sequence[Case], missing: Iterable[str], store: Store) -> None:
        self.results: dict[tuple[str, str], CaseResult] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self._store = store
        self._left = set(missing)
        keys = ((case, {each.key for each in needed([case])}) for case in selected)
        self._waiting = [(case, of) for case, of in keys if of & self._left]

    def made(self, keys: Iterable[str], say: Callable[[str], None]) -> None:
        """Judge what waits for nothing any more, and say what it comes to.

        Args:
            keys: of what has been made.
            say: prints a line.
        """
        self._left -= set(keys)
        ready = [(case, of) for case, of in self._waiting if not of & self._left]
        self._waiting = [(case, of) for case, of in self._waiting if of & self._left]
        for case, of in ready:
            found = {key: self.records.get(key) or self._store.read("measurements", key) for key in of}
            records = {key: record for key, record in found.items() if record is not None}
            if len(records) < len(of):
                continue  # removed from the store meanwhile; the run finds out when it is over
            self.records |= records
            result = judge(case, records)
            self.results[case.claim.id, case.name] = result
            say(_line(result))


def _line(result: CaseResult) -> str:
    case, judgement = result.case, result.judgement
    said = f"{judgement.verdict}: {case.claim.id} on {case.name}, {measured_in_words(judgement)}"
    return textwrap.shorten(said, _COLUMNS, placeholder=" ...")
