"""What a run was asked to judge: kept in its results file, and part of the command that makes its numbers again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from lmc.tiers.families import PILOT_OFFSET

_OPTIONS = ("arch", "dataset", "max_width", "precision")


def selection_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was asked to judge.

    Args:
        document: a results document. One from before selections were kept tells only by its seeds whether it is of
            pilots; the rest counts as not asked for.

    Returns:
        ``pilot``, ``claims``, ``extra_claims``, ``arch``, ``dataset``, ``max_width`` and ``precision`` as in
        `lmc.executing.settings.Settings`: ``None`` or empty where the run was not restricted.
    """
    families = document["evidence"]["families"]
    by_seeds = any(seed >= PILOT_OFFSET for family in families for seed in family["seeds"])
    unasked: dict[str, Any] = {"pilot": by_seeds, "claims": [], "extra_claims": [], **dict.fromkeys(_OPTIONS)}
    return unasked | dict(document.get("selection") or {})


def command(document: Mapping[str, Any], claim: str) -> str:
    """The command that makes a claim's numbers again; only ``lmc run`` can train pilots."""
    asked = selection_of(document)
    start, prefix = ("lmc run --pilot", "--") if asked["pilot"] else ("pytest -m paper", "--lmc-")
    extra = ",".join(asked["extra_claims"]) or None
    named = {
        "tier": document["tier"],
        "extra_claims": extra,
        "claims": claim,
        **{name: asked[name] for name in _OPTIONS},
    }
    options = (
        f"{prefix}{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in named.items()
        if value is not None
    )
    return " ".join([start, *options])


def described(document: Mapping[str, Any]) -> str:
    """What the run was restricted to, as text; ``everything`` where it was not."""
    asked = selection_of(document)
    said = ["pilot seeds"] if asked["pilot"] else []
    said += [f"claims {', '.join(asked['claims'])}"] if asked["claims"] else []
    said += [f"with claims of {', '.join(asked['extra_claims'])}"] if asked["extra_claims"] else []
    said += _said(asked, _OPTIONS)
    return "; ".join(said) or "everything"


def series(document: Mapping[str, Any]) -> str:
    """What makes a run's numbers another quantity than an unrestricted run's; empty where nothing does.

    Other widths and another precision do. Claims, architecture and dataset only leave cases out.
    """
    return "; ".join(_said(selection_of(document), ("max_width", "precision")))


def _said(asked: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return [f"{name.replace('_', ' ')} {asked[name]}" for name in names if asked[name] is not None]
