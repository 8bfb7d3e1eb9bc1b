"""The verdicts there are. Imports nothing, so that reading a results file stays light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOLDS, FAILS, INCONCLUSIVE, INVALID, NOT_RUN = "holds", "fails", "inconclusive", "invalid", "not-run"
SEVERITY = (HOLDS, NOT_RUN, INCONCLUSIVE, INVALID, FAILS)
"""Verdicts from best to worst; a claim's verdict is the worst of its settings', theirs of their parts'."""

KNOWN_GAP = "known gap"


def shown(setting: Mapping[str, Any]) -> str:
    """The verdict of a results file's claim on a setting; where a known gap explains it, that."""
    return KNOWN_GAP if setting["known_gap"] and setting["verdict"] != HOLDS else str(setting["verdict"])
