"""What a run was asked to judge: kept in its results file, and part of the command that makes its numbers again."""

from __future__ import annotations

import shlex

from lmc.results.document import Document, Selection

_OPTIONS = ("setting", "role", "arch", "dataset", "max_width", "precision")


def command(document: Document, claim: str) -> str:
    """The command that makes a claim's numbers again; only ``lmc run`` can train pilots."""
    asked = document.selection
    start, prefix = ("lmc run --pilot", "--") if asked.pilot else ("pytest -m paper", "--lmc-")
    extra = ",".join(asked.extra_claims) or None
    rest = {name: _given(asked, name) for name in _OPTIONS}
    named = {"tier": document.tier, "extra_claims": extra, "claims": claim, **rest}
    options = (
        f"{prefix}{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in named.items()
        if value is not None
    )
    return " ".join([start, *options])


def described(document: Document) -> str:
    """What the run was restricted to, as text; ``everything`` where it was not."""
    asked = document.selection
    said = ["pilot seeds"] if asked.pilot else []
    said += [f"claims {', '.join(asked.claims)}"] if asked.claims else []
    said += [f"with claims of {', '.join(asked.extra_claims)}"] if asked.extra_claims else []
    said += _said(asked, _OPTIONS)
    return "; ".join(said) or "everything"


def series(document: Document) -> str:
    """What makes a run's numbers another quantity than an unrestricted run's; empty where nothing does.

    Other widths and another precision do. Claims, settings, roles, architecture and dataset only leave cases out.
    """
    return "; ".join(_said(document.selection, ("max_width", "precision")))


def _said(asked: Selection, names: tuple[str, ...]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name in names if (value := _given(asked, name)) is not None]


def _given(asked: Selection, name: str) -> object:
    """A field as an option's value, names separated by commas; ``None`` where it was not given."""
    value: object = getattr(asked, name)
    return (",".join(value) or None) if isinstance(value, tuple) else value
