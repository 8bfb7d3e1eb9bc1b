"""A tier of somebody else's package, by its name."""

from __future__ import annotations

from collections import Counter

from lmc.errors import LmcError, SpecError, in_one_line
from lmc.references import find
from lmc.tiers.families import Tier


def own_tier(reference: str) -> Tier:
    """The tier that ``package.module:name`` names, itself or what it gives when it is called.

    Raises:
        SpecError: there is no such module or name, it fails or gives no tier, or a setting lacks the family ``strong``
            or has another's name.
    """
    wanted = "a Tier, or a function that gives one"
    found = find(reference, option="tier", example="own_claim:tier", wanted=wanted)
    try:
        tier = found() if callable(found) else found
    except LmcError:
        raise
    except (Exception, SystemExit) as error:  # the reader's own code, which may even exit
        raise SpecError(
            f"tier {reference} failed: {in_one_line(error)}; it must give a Tier without arguments"
        ) from error
    if not isinstance(tier, Tier):
        raise SpecError(f"tier {reference} gives a {type(tier).__name__}; name {wanted}")
    if not tier.settings:
        raise SpecError(f"tier {reference} has no settings; give it one at least")
    for name, count in Counter(setting.name for setting in tier.settings).items():
        if count > 1:
            raise SpecError(f"tier {reference} has {count} settings called {name!r}; give each a name of its own")
    for setting in tier.settings:
        if "strong" not in setting.families:
            raise SpecError(
                f"setting {setting.name!r} of tier {reference} has no family 'strong', only "
                f"{', '.join(setting.families) or 'none at all'}; claims compare all others with it"
            )
    return tier
