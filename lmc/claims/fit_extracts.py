"""What layers of a merged model are made of: numbers taken from its layer fits (Def. 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lmc.claims.studies import Values
from lmc.measuring.layer_fit import layer_fit

Record = dict[str, Any]
LOGITS = "logits"


def third_of_logits(record: Record) -> Values:
    """The third model's share of the logits, see `third_share`; they are centred over the classes."""
    return {"": third_share(record["grams"][LOGITS]["centred"])}


def third_of_hidden(record: Record) -> Values:
    """The third model's share of every hidden layer beyond the first, see `third_share`.

    All models read the same images, so that the first layers of any two are alike.
    """
    hidden = [name for name in record["grams"] if name != LOGITS]
    return {name: third_share(record["grams"][name]["centred"]) for name in hidden[1:]}


def third_share(gram: Sequence[float]) -> float | None:
    """δ over the sum of α, γ and the size of δ in f_merged = α f_a + γ f_b + δ f_c, where model c was not merged.

    Three models that are merely equally good get ⅓. δ keeps its sign, so that noise, which has either, does not raise
    the mean; a share of its size would never fall to 0. Where α + γ <= 0 the layer has nothing of the two, and the
    share is 1: of a layer that is like none of the three, half of the fits say so.
    """
    fit = layer_fit(gram)
    if fit is None:
        return None
    own = fit.alpha + fit.gamma
    return fit.delta / (own + abs(fit.delta)) if own > 0 else 1.0


def exponent(record: Record) -> Values:
    """ℓ where α / γ is (λ / (1 - λ))^ℓ up to its sign, in the logits f_merged = α f_a + γ f_b + δ f_c (Def. 4.1).

    The number of layers under LEWC, 1 under LLFC, 2 where every layer is normalised and its statistics were reset: what
    comes in is cancelled there, and only the last normalised layer and the head weigh.
    """
    fit = layer_fit(record["grams"][LOGITS]["centred"])
    if fit is None or not fit.alpha or not fit.gamma:
        return {"": None}
    return {"": math.log(abs(fit.alpha / fit.gamma)) / math.log(record["lam"] / (1 - record["lam"]))}
