"""Why a claim fails where it is known to: a reason that somebody could refute, and how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    """An experiment that would refute an explanation.

    Args:
        what: is done, and what would have to come of it.
        result: what came of it; empty where it has not been run. A refuted explanation is taken out, not kept.
    """

    what: str
    result: str = ""


@dataclass(frozen=True)
class Explanation:
    """Why a claim fails on a setting. The failure counts as one all the same, but makes no run red.

    Args:
        why: the reason.
        refuted_by: the experiment that would refute it.
    """

    why: str
    refuted_by: Experiment
