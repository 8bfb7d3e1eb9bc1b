"""Which models can be merged, and what is done to them before and in the merge. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from lmc.errors import MergeError, SpecError
from lmc.specs import RunSpec

ALIGNMENTS = ("unpermuted", "matching", "complementary", "reversed", "distance")
"""What is done to model b before a merge. It stays; is permuted to be close to model a by weight matching (App. F.2);
has its strong channels put where a's are weak, or where a's are strong; or is put as far from a as can be."""

RULES = ("mean", "sum", "transplant")
"""How weights are combined, see `lmc.merging.weights`, `lmc.merging.sums` and `lmc.merging.pruning`."""
BN_RULES = ("reset", "summed")


def check_draw(specs: Sequence[RunSpec], alignment: str, draw: int) -> None:
    """Refuse draws that are none: a new permutation must leave the law of the models as it is.

    Args:
        specs: the models; those after the first are permuted.
        alignment: what is done to them besides.
        draw: its number; 0 for none.

    Raises:
        SpecError: ``alignment`` is unknown, ``draw`` is no number of a draw, the models are aligned, which undoes the
            permutation, or two different ones start from the same weights, whose units correspond.
    """
    one_of("alignment", alignment, ALIGNMENTS)
    if isinstance(draw, bool) or not isinstance(draw, int) or draw < 0:
        raise SpecError(f"draw is {draw!r}; it must be 0, which permutes nothing, or the number of a draw")
    if draw and alignment != "unpermuted":
        raise SpecError(
            f"there is no draw {draw} of {alignment} models: {alignment} undoes a random permutation; "
            "ask for draw 0, or for the unpermuted models"
        )
    starts = [spec.init_seed for spec in dict.fromkeys(specs)]
    shared = sorted(seed for seed in set(starts) if starts.count(seed) > 1)
    if draw and shared:
        raise SpecError(
            f"there is no draw {draw} of models that start from the same weights (init_seed {shared[0]}): their units "
            "correspond, which a random permutation undoes; ask for draw 0"
        )


def check_rule(rule: str, bn: str, alignment: str, dose: float) -> None:
    """Refuse what cannot be done to weights and statistics.

    Args:
        rule: how weights are combined.
        bn: what becomes of BatchNorm's statistics.
        alignment: what is done to the models before.
        dose: share of the channels that a complementary permutation places.

    Raises:
        SpecError: ``rule`` or ``bn`` is unknown, the statistics of a mean are to be summed, or ``dose`` is out of range
            or not of a complementary permutation.
    """
    one_of("rule", rule, RULES)
    one_of("bn", bn, BN_RULES)
    if (rule, bn) == ("mean", "summed"):
        raise SpecError("the statistics of a mean cannot be summed; choose bn 'reset' or rule 'sum'")
    if not 0 <= dose <= 1 or (dose < 1 and alignment != "complementary"):
        raise SpecError(
            f"dose is {dose!r} of {alignment} models; it must be a share in [0, 1] of the channels that a "
            "complementary permutation places"
        )


def check_fit(specs: Sequence[RunSpec], lam: float) -> None:
    """Refuse models or a λ at which what a merge consists of cannot be told.

    Raises:
        SpecError: a model is named twice, or λ is not inside (0, 1).
    """
    if len(set(specs)) < len(specs):
        raise SpecError(f"seeds {[spec.seed for spec in specs]} name a model twice; name three models")
    if not 0 < lam < 1:
        raise SpecError(f"lam is {lam!r}; it must lie between 0 and 1, where a merge has a part of both models")


def check_keeps(keeps: Sequence[float]) -> None:
    """Refuse shares of channels that cannot be kept.

    Raises:
        SpecError: there is none, or one is out of range.
    """
    if not keeps or any(not 0 < keep <= 1 for keep in keeps):
        raise SpecError(f"keeps is {keeps}; it must be at least one share of the channels, each in (0, 1]")


def check_one_architecture(specs: tuple[RunSpec, ...]) -> None:
    """Refuse specs whose models cannot be averaged.

    Raises:
        MergeError: naming the first field that differs.
    """
    first = specs[0]
    for field in ("dataset", "classes", "arch", "width", "depth", "train_size", "bias"):
        for other in specs[1:]:
            if getattr(first, field) != getattr(other, field):
                raise MergeError(
                    f"cannot merge {field} {getattr(first, field)!r} with {field} {getattr(other, field)!r}; "
                    "choose equal specs"
                )


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        SpecError: naming them.
    """
    if value not in allowed:
        raise SpecError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")
