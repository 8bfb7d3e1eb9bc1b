"""What counts as a good merge, and what is concluded of it."""

from __future__ import annotations

import pytest

from lmc.diagnosing.candidates import AS_GIVEN, Candidate, Way, excess_of, name_of
from lmc.diagnosing.conclusion import (
    AFTER_CALIBRATION,
    AFTER_RESET,
    AS_A_SUM,
    AS_THEY_ARE,
    NOT_AT_ALL,
    UNDECIDED,
    WITH_PERMUTATION,
    conclude,
)
from lmc.diagnosing.scoring import Score
from lmc.diagnosing.standard import Standard, Thresholds, guesses


@pytest.mark.parametrize(
    ("right", "inputs", "commonest", "expected"),
    [
        (28, 200, 0.1, False),  # P(X >= 28) = 0.043 for X of B(200, 0.1)
        (27, 200, 0.1, True),  # 0.067
        (100, 200, 0.5, True),
        (5, 5, 0.6, True),  # 0.6^5 = 0.078
        (200, 200, 1.0, True),  # whoever names the only class is always right
    ],
)
def test_guessing_is_an_exact_binomial_test(right: int, inputs: int, commonest: float, expected: bool) -> None:
    assert guesses(right / inputs, inputs, commonest) is expected


def test_every_number_is_judged_by_itself() -> None:
    models = [Score(0.9, 0.3, 1.0, 0.3)] * 2
    merged = Score(0.8, 0.29, 1.0, 0.9)
    candidates = [Candidate(AS_GIVEN, Way(), False, merged, excess_of(merged, models))]
    standard = Standard(models, Thresholds(), inputs=1000, commonest=0.1)
    found = conclude(candidates, standard, alignment="it was not asked for")
    assert found.verdict == NOT_AT_ALL
    assert "(fails: at most 2 points less), loss -0.010 nats (passes: at most 0.1)" in found.reasons[0]
    assert found.reasons[0].endswith("+0.600 (fails: at most 0.1).")


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (0.9, AS_THEY_ARE),
        (0.88, AS_THEY_ARE),  # 2 points below the better model
        (0.87, UNDECIDED),
    ],
)
def test_beside_a_model_that_guesses_a_merge_must_be_as_good_as_the_better_one(accuracy: float, verdict: str) -> None:
    models = [Score(0.9, 0.3, 1.0, 0.3), Score(0.1, 2.3, 1.0, 2.3)]
    merged = Score(accuracy, 0.3, 1.0, 0.3)
    candidate = Candidate(AS_GIVEN, Way(), False, merged, excess_of(merged, models))
    standard = Standard(models, Thresholds(), inputs=1000, commonest=0.1)
    assert standard.poor == [2]
    assert standard.accurate(candidate)  # against their mean it always is
    assert standard.fits(candidate, calibrated=False)
    assert conclude([candidate], standard).verdict == verdict


def test_a_merge_of_models_that_guess_says_nothing() -> None:
    models = [Score(0.1, 2.3, 1.0, 2.3)] * 2
    candidate = Candidate(AS_GIVEN, Way(), False, models[0], excess_of(models[0], models))
    found = conclude([candidate], Standard(models, Thresholds(), inputs=1000, commonest=0.1))
    assert found.verdict == UNDECIDED
    assert found.candidate is None


def test_the_least_intervention_that_is_good_is_taken() -> None:
    models = [Score(0.9, 0.3, 1.0, 0.3)] * 2
    good, bad = Score(0.9, 0.3, 1.0, 0.3), Score(0.5, 2.0, 1.0, 2.0)
    flat = Score(0.9, 0.9, 5.0, 0.3)  # as good once its logits are multiplied by 5
    standard = Standard(models, Thresholds(), inputs=1000, commonest=0.1)

    def concluded(*merged: Score) -> tuple[str, str | None, float | None]:
        kinds = [(way, reset) for way in (Way(), Way("matching")) for reset in (False, True)]
        candidates = [
            Candidate(name_of(way, reset=reset), way, reset, each, excess_of(each, models))
            for (way, reset), each in zip(kinds, merged, strict=True)
        ]
        found = conclude(candidates, standard)
        return found.verdict, found.candidate, found.beta

    assert concluded(good, good, good, good) == (AS_THEY_ARE, "as they are", None)
    assert concluded(flat, good, good, good) == (AFTER_RESET, "BN reset", None)
    assert concluded(flat, flat, good, good) == (AFTER_CALIBRATION, "BN reset", 5.0)
    assert concluded(bad, bad, good, good) == (WITH_PERMUTATION, "permuted", None)
    assert concluded(bad, bad, bad, flat) == (WITH_PERMUTATION, "permuted, BN reset", 5.0)
    assert concluded(bad, bad, bad, bad) == (NOT_AT_ALL, None, None)


def test_a_sum_comes_before_permutations_and_matching_before_complements() -> None:
    models = [Score(0.9, 0.3, 1.0, 0.3)] * 2
    good, bad = Score(0.9, 0.3, 1.0, 0.3), Score(0.5, 2.0, 1.0, 2.0)
    flat = Score(0.9, 0.9, 5.0, 0.3)
    standard = Standard(models, Thresholds(), inputs=1000, commonest=0.1)
    ways = [Way(), Way(rule="sum"), Way("matching"), Way("complementary"), Way("complementary", rule="sum")]

    def concluded(*merged: Score) -> tuple[str, str | None, str]:
        candidates = [
            Candidate(name_of(way), way, False, each, excess_of(each, models))
            for way, each in zip(ways, merged, strict=True)
        ]
        found = conclude(candidates, standard)
        return found.verdict, found.candidate, found.sentence

    halves = "the sum of their hidden layers and the mean of the last one"
    assert concluded(flat, good, good, good, good)[:2] == (AFTER_CALIBRATION, "as they are")  # a mean before a sum
    assert concluded(bad, good, good, good, good) == (
        AS_A_SUM,
        "sum",
        f"These models can be merged only as {halves}.",
    )
    assert concluded(bad, bad, good, good, good)[:2] == (WITH_PERMUTATION, "permuted")
    assert concluded(bad, bad, flat, flat, good) == (  # what needs no labels comes first
        WITH_PERMUTATION,
        "complementary, sum",
        f"These models can be merged only as {halves}, after permuting them complementarily, strong channels onto weak "
        "ones.",
    )
    refused = concluded(bad, bad, bad, bad, bad)
    assert refused[:2] == (NOT_AT_ALL, None)
    assert "their mean or sum is worse than they are" in refused[2]
