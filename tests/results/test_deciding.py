"""Whether a run is red: by hand, and how often, over simulated runs on fresh seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import comb
from statistics import NormalDist, mean
from typing import Any

import pytest
from documents import BELOW, claim, document, setting
from msgspec.structs import replace

from lmc.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, Verdict
from lmc.results.chances import (
    chances_of_inconclusive,
    committed_chances,
    expected_flips,
    failures_beyond_chance,
    holm,
    most_inconclusive,
    on_fresh_seeds,
)
from lmc.results.deciding import Decision, counted, counts_in_words
from lmc.results.document import Document, Explained, Judged
from lmc.tiers import tier_names

NORMAL = NormalDist()
SETTINGS = ("mlp", "vgg", "resnet")


class TestHolm:
    def test_by_hand(self) -> None:
        """0.05 / 4 rejects 0.01, 0.05 / 3 rejects 0.016, 0.05 / 2 keeps 0.03, and with it whatever is larger."""
        assert holm({"a": 0.03, "b": 0.01, "c": 0.016, "d": 0.031}) == {"a", "b", "c", "d"} - {"a", "d"}

    @pytest.mark.parametrize(("p", "rejected"), [(0.0124, True), (0.0126, False)])
    def test_the_more_there_are_the_less_counts(self, p: float, rejected: bool) -> None:
        assert holm({"x": p, "y": 0.9, "z": 0.8, "u": 0.7}) == ({"x"} if rejected else set())

    def test_a_failure_that_nothing_random_brings_is_certain(self) -> None:
        judged = {f"{at}": setting("s", verdict="holds", p_contrary=0.5) for at in range(100)}
        judged |= {"exact": setting("s", verdict="fails"), "chance": setting("s", verdict="fails", p_contrary=0.001)}
        assert failures_beyond_chance(judged) == {"exact"}
        assert failures_beyond_chance({"chance": judged["chance"]}) == {"chance"}


class TestFreshSeeds:
    @pytest.mark.parametrize(("z", "verdict"), [(3.0, HOLDS), (0.0, INCONCLUSIVE), (-3.0, FAILS)])
    def test_the_chances_are_those_of_a_second_run_as_uncertain_as_the_first(self, z: float, verdict: Verdict) -> None:
        rng = random.Random(0)
        found = on_fresh_seeds(case(z))
        assert found is not None
        again = [case(rng.gauss(z, 2**0.5)).verdict for _ in range(20_000)]
        for each, chance in found.items():
            assert chance == pytest.approx(again.count(each) / len(again), abs=0.01)
        assert max(found, key=found.__getitem__) == verdict

    def test_flips_are_those_that_happen(self) -> None:
        """Over truths of every size."""
        rng = random.Random(1)
        truths = [rng.uniform(-8, 8) for _ in range(3000)]
        first, second = run(truths, rng), run(truths, rng)
        flips = sum(a.verdict != b.verdict for (_, a), (_, b) in zip(first.judged(), second.judged(), strict=True))
        assert flips > 300
        assert expected_flips(first) == pytest.approx(flips, rel=0.15)

    def test_what_is_exact_does_not_flip(self) -> None:
        assert on_fresh_seeds(setting("s")) is None
        assert expected_flips(document()) == 0


class TestMostInconclusive:
    @pytest.mark.parametrize(("cases", "chance"), [(20, 0.5), (50, 0.1), (1, 0.5), (3, 0.01)])
    def test_of_unrelated_cases_it_is_a_quantile_of_the_binomial(self, cases: int, chance: float) -> None:
        """Each on a setting of its own."""
        found = most_inconclusive([[chance]] * cases)
        at_most = [
            sum(comb(cases, k) * chance**k * (1 - chance) ** (cases - k) for k in range(limit + 1))
            for limit in range(cases + 1)
        ]
        assert found == next(limit for limit, reached in enumerate(at_most) if reached >= 0.95)

    def test_cases_of_one_setting_go_together(self) -> None:
        assert most_inconclusive([[0.1] * 100]) > most_inconclusive([[0.1]] * 100)

    def test_what_is_certain_is_counted_so(self) -> None:
        assert most_inconclusive([[0.0] * 5, [1.0] * 3]) == 3
        assert most_inconclusive([]) == 0


class TestDecision:
    def decided(self, *settings: Judged, **changes: Any) -> Decision:
        return Decision(document(claim("a", *settings), **changes))

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"verdict": "holds"}, ""),
            ({"verdict": "not-run"}, ""),
            ({"verdict": "inconclusive"}, ""),
            ({"verdict": "invalid"}, "invalid"),
            ({"verdict": "invalid", "explained": Explained("why")}, "invalid"),
            ({"verdict": "fails"}, "fails beyond what chance does to 1 cases"),
            ({"verdict": "fails", "explained": Explained("why")}, ""),
            ({"verdict": "fails", "by_chance": True}, ""),
            ({"verdict": "holds", "explained": Explained("why")}, ""),
        ],
    )
    def test_of_one_case(self, changes: dict[str, Any], why: str) -> None:
        found = self.decided(setting("s", **changes))
        assert [each[:2] for each in found.red] == ([("a", "s")] if why else [])
        assert all(each[2].startswith(why) for each in found.red)

    def test_more_inconclusive_cases_than_were_predicted(self) -> None:
        few = [setting(f"s{at}", verdict="inconclusive", p_contrary=0.3, predicted=0.02) for at in range(2)]
        rest = [setting(f"t{at}", p_contrary=0.9, predicted=0.02) for at in range(8)]
        found = self.decided(*few, *rest)
        assert found.limit == 1  # 0.98^10 + 10 * 0.02 * 0.98^9 = 0.984
        assert [name for _, name, _ in found.red] == ["s0", "s1"]
        assert "one of 2 inconclusive cases, where at most 1 were to be expected" in found.red[0][2]
        assert not self.decided(few[0], *rest).red
        assert not self.decided(*(replace(each, predicted=None) for each in (*few, *rest))).red

    def test_a_design_that_decides_nothing_is_red_though_nobody_predicted_it(self) -> None:
        blind = [setting(f"s{at}", verdict="inconclusive", p_contrary=0.5) for at in range(12)]
        found = self.decided(*blind)
        assert found.limit == 9  # of 12 coins
        assert len(found.red) == 12


class TestCounts:
    def test_in_words(self) -> None:
        shown = ["holds"] * 98 + ["inconclusive"] * 3 + ["fails"] + ["fails, explained"] * 15
        assert counts_in_words(shown) == "98 hold, 3 inconclusive, 16 fail (15 explained)"
        assert counts_in_words(["holds"] * 20, "check") == "20 of 20"
        assert counts_in_words(["holds", "not-run", "fails, not beyond chance", "invalid"], "found here") == (
            "1 of 3, 1 fail (1 not beyond chance), 1 invalid"
        )
        assert counts_in_words(["not-run"] * 2, "check") == counts_in_words(["not-run"] * 2) == "2 not run"

    @pytest.mark.parametrize("verdict", ["fails", "fails, explained", "fails, not beyond chance"])
    def test_nothing_fails_only_where_nothing_does(self, verdict: str) -> None:
        assert "0 fail" in counts_in_words(["holds", "inconclusive", "invalid"])
        assert "1 fail" in counts_in_words(["holds", verdict])

    def test_roles_are_counted_apart(self) -> None:
        roles = ("claim", "check", "found here")
        made = document(*(claim(role, setting("s"), setting("t", verdict="fails"), role=role) for role in roles))
        assert counted(made) == [
            "claims: 1 hold, 1 fail",
            "checks: 1 of 2, 1 fail",
            "found here: 1 of 2, 1 fail",
        ]


# -- Simulated runs: a case measures z, in errors from its bound, and holds above 1.645. --


def case(z: float, name: str = "s", **changes: Any) -> Judged:
    p_value, p_contrary = NORMAL.cdf(-z), NORMAL.cdf(z)
    verdict: Verdict = HOLDS if p_value <= 0.05 else FAILS if p_contrary <= 0.05 else INCONCLUSIVE
    return setting(name, BELOW, verdict=verdict, p_value=p_value, p_contrary=p_contrary, **changes)


def run(truths: Sequence[float], rng: random.Random, earlier: Document | None = None) -> Document:
    """A run on fresh seeds; a tenth of the variance is shared by the cases of a setting, which have the same models."""
    predicted = chances_of_inconclusive(earlier) if earlier else {}
    shared = {name: rng.gauss(0, 1) for name in SETTINGS}
    judged = []
    for at, truth in enumerate(truths):
        name = SETTINGS[at % len(SETTINGS)]
        z = truth + 0.1**0.5 * shared[name] + 0.9**0.5 * rng.gauss(0, 1)
        judged.append(case(z, name, predicted=predicted.get((f"c{at}", name))))
    beyond = failures_beyond_chance(dict(enumerate(judged)))
    marked = (replace(each, by_chance=each.verdict == FAILS and at not in beyond) for at, each in enumerate(judged))
    return document(*(claim(f"c{at}", each) for at, each in enumerate(marked)))


def truths(rng: random.Random, cases: int = 140) -> list[float]:
    """What a suite of sound claims looks like: all true, some barely, most by far."""
    return [abs(rng.gauss(0, 5)) for _ in range(cases)]


def share_red(broken: float | None, spread: float = 1.0, runs: int = 60, explained: bool = True) -> float:
    """How often a run is red after an earlier one.

    Args:
        broken: the share of cases whose effect turns to the contrary; ``None`` for none.
        spread: by which the errors of the later run are larger.
        runs: how many are made.
        explained: whether an earlier run predicts it.
    """
    rng = random.Random(2)
    red = []
    for _ in range(runs):
        true = truths(rng)
        earlier = run(true, rng) if explained else None
        now = [-each if broken and rng.random() < broken else each / spread for each in true]
        red.append(bool(Decision(run(now, rng, earlier)).red))
    return mean(red)


def test_a_sound_run_is_seldom_red() -> None:
    """5 % for failures and 5 % for inconclusive cases at most; so two of three are red in less than 3 % of cases."""
    assert share_red(None, runs=200) <= 0.1
    assert share_red(None, runs=60, explained=False) <= 0.05


@pytest.mark.parametrize("broken", [0.1, 0.3, 1.0])
def test_a_run_of_broken_models_is_always_red(broken: float) -> None:
    assert share_red(broken) == 1


def test_a_run_that_decides_less_than_the_one_before_is_red() -> None:
    """Effects that are a third as sure fail nowhere: only their number of inconclusive cases tells."""
    assert share_red(None, spread=3.0) == 1
    rng = random.Random(3)
    true = truths(rng)
    assert not Decision(run([each / 3 for each in true], rng)).red  # a run cannot predict that of itself


def test_an_explained_failure_is_not_red_however_sure() -> None:
    found = Decision(document(claim("a", case(-20.0, explained=Explained("why"))), claim("b", case(5.0))))
    assert not found.red
    assert found.lines()[0] == "claims: 1 hold, 1 fail (1 explained)"


def test_the_committed_predictions_are_chances_of_known_tiers() -> None:
    assert committed_chances("a tier that nobody ran") == {}
    for tier in tier_names():
        assert all(0 <= each <= 1 for each in committed_chances(tier).values())
