"""What each tier trains, as data.

A *setting* is an architecture on a dataset; it holds one or more *families*: a recipe trained at several
widths from several seeds. The family ``strong`` is the paper's recipe; the others differ from it in one thing.
"""

from __future__ import annotations

from lmc.errors import SpecError
from lmc.tiers.families import Family, Setting, Tier, restricted, with_pilot_seeds, with_precision
from lmc.tiers.laptop import laptop
from lmc.tiers.own import own_tier
from lmc.tiers.paper import paper
from lmc.tiers.preview import preview
from lmc.tiers.quick import quick
from lmc.tiers.seeds import PILOT_OFFSET, VERDICT_SEEDS
from lmc.tiers.standard import standard
from lmc.tiers.vit import vit

__all__ = [
    "PILOT_OFFSET",
    "VERDICT_SEEDS",
    "Family",
    "Setting",
    "Tier",
    "load_tier",
    "restricted",
    "tier_names",
    "with_pilot_seeds",
    "with_precision",
]

_TIERS = {
    "quick": quick,
    "preview": preview,
    "laptop": laptop,
    "vit": vit,
    "standard": standard,
    "paper": paper,
}


def tier_names() -> tuple[str, ...]:
    """The tiers there are."""
    return tuple(_TIERS)


def load_tier(name: str) -> Tier:
    """The tier called ``name``, or somebody else's where that is ``package.module:name``.

    Raises:
        SpecError: there is none, or it is not sound, see `lmc.tiers.own.own_tier`.
    """
    if ":" in name:
        return own_tier(name)
    if name not in _TIERS:
        raise SpecError(f"unknown tier {name!r}; choose one of {', '.join(_TIERS)}, or package.module:name")
    return _TIERS[name]()
