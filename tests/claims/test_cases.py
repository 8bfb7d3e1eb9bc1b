"""From records to verdicts and the results file: preconditions, known gaps, what is written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tiny_claim import CLAIM, SETTING, TIER

from lmc.claims.expectations import Within
from lmc.claims.extracts import barrier
from lmc.claims.cases import Case, cases, claim_verdict, judge, needed
from lmc.claims.studies import Arm, computed, flatness, models, over_pairs, self_merge, study
from lmc.claims.verdicts import HOLDS, INVALID, NOT_RUN
from lmc.errors import StoreError
from lmc.reporting.table import verdict_table
from lmc.results.file import read_results, results_document, write_results
from lmc.tiers.families import VERDICT_SEEDS, variant


class TestJudging:
    """Preconditions come before expectations."""

    (case,) = cases([CLAIM], TIER)

    def records(self, **changes: object) -> dict[str, dict[str, object]]:
        point = {"accuracy": 0.9, "loss": 0.1, "beta": 1.0, "calibrated_loss": 0.1}
        barriers = {"calibrated_loss_barrier_midpoint": 0.0}
        record = {
            "status": "measured",
            "distance": 1.0,
            "accuracies": [0.9, 0.9],
            "path": {"lams": [0, 0.5, 1], "points": [point] * 3, "barriers": barriers},
            **changes,
        }
        return {measurement.key: record for measurement in needed([self.case])}

    def test_holds(self) -> None:
        assert judge(self.case, self.records()).judgement.verdict == HOLDS

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"status": "mlp x1 diverged"}, "diverged"), ({"distance": 0.0}, "identical")],
    )
    def test_invalid(self, changes: dict[str, object], reason: str) -> None:
        found = judge(self.case, self.records(**changes)).judgement
        assert found.verdict == INVALID
        assert reason in found.reason

    def test_undertrained_endpoints_are_invalid(self) -> None:
        strict = dataclasses.replace(SETTING, min_accuracy=0.95)
        found = judge(Case(CLAIM, strict), self.records()).judgement
        assert found.verdict == INVALID
        assert "accuracy of 0.900, below the 0.95" in found.reason

    @pytest.mark.parametrize("accuracies", [[0.9, 0.94], [0.94, 0.9]])
    def test_any_undertrained_model_is_enough_and_is_named(self, accuracies: list[float]) -> None:
        strict = dataclasses.replace(SETTING, min_accuracy=0.92)
        found = judge(Case(CLAIM, strict), self.records(accuracies=accuracies)).judgement
        assert found.verdict == INVALID
        seed = VERDICT_SEEDS[accuracies.index(0.9)]
        assert f"seed {seed} reaches an accuracy of 0.900" in found.reason
        assert judge(Case(CLAIM, strict), self.records(accuracies=[0.92, 0.94])).judgement.verdict == HOLDS

    def test_narrow_models_have_a_floor_of_their_own(self) -> None:
        lenient = dataclasses.replace(SETTING, min_accuracy=0.95, narrow_accuracy=0.5, wide=64.0)
        assert judge(Case(CLAIM, lenient), self.records()).judgement.verdict == HOLDS
        found = judge(Case(CLAIM, lenient), self.records(accuracies=[0.4, 0.9])).judgement
        assert "accuracy of 0.400, below the 0.5" in found.reason
        wide = dataclasses.replace(lenient, wide=0.0)
        assert judge(Case(CLAIM, wide), self.records()).judgement.verdict == INVALID

    def test_a_model_alone_or_with_itself_is_no_identical_pair(self) -> None:
        for sample in (models, flatness):
            study_ = study(Arm(lambda _: {"": 0.0}, sample=sample))
            case = Case(dataclasses.replace(CLAIM, study=study_), SETTING)
            record = {"status": "measured", "accuracies": [1.0], "distance": 1.0}
            records = {each.key: record | {"accuracies": [1.0] * len(each.specs)} for each in needed([case])}
            assert judge(case, records).judgement.verdict == HOLDS
        control = Case(dataclasses.replace(CLAIM, study=self_merge()), SETTING)
        barriers = {"barriers": {"loss_barrier_midpoint": 0.0}}
        record = {"status": "measured", "accuracies": [1.0, 1.0], "distance": 0.0, "path": barriers}
        found = judge(control, {each.key: record for each in needed([control])}).judgement
        assert found.verdict != INVALID

    def test_a_claim_on_one_dataset_is_judged_there_only(self) -> None:
        other = dataclasses.replace(
            SETTING, name="other", families={"strong": variant(SETTING.families["strong"], dataset="cifar100")}
        )
        tier = dataclasses.replace(TIER, settings=(SETTING, other))
        claim = dataclasses.replace(CLAIM, dataset="cifar100")
        assert [case.name for case in cases([claim], tier)] == ["other"]
        assert [case.name for case in cases([CLAIM], tier)] == ["tiny", "other"]
        (case,) = cases([claim], TIER)
        assert case.skip == "tier tiny has no mlp on cifar100"

    def test_a_claim_needs_all_its_families(self) -> None:
        claim = dataclasses.replace(CLAIM, study=over_pairs(barrier("loss"), "weak", "strong"))
        (case,) = cases([claim], TIER)
        assert (case.name, case.skip) == ("tiny", "tiny is not trained as weak")
        assert needed([case]) == []
        both = {"strong": SETTING.families["strong"], "weak": SETTING.families["strong"]}
        tier = dataclasses.replace(TIER, settings=(dataclasses.replace(SETTING, families=both),))
        assert [case.skip for case in cases([claim], tier)] == [""]

    def test_every_setting_a_claim_speaks_of_is_judged_or_says_why_not(self) -> None:
        both = {"strong": SETTING.families["strong"], "weak": SETTING.families["strong"]}
        settings = (SETTING, *(dataclasses.replace(SETTING, name=name, families=both) for name in ("both", "out")))
        claim = dataclasses.replace(CLAIM, study=over_pairs(barrier("loss"), "weak", "strong"))
        found = cases([claim], dataclasses.replace(TIER, settings=settings[:2]), settings[2:], "left out")
        assert [(each.name, each.skip) for each in found] == [
            ("tiny", "tiny is not trained as weak"),
            ("both", ""),
            ("out", "left out"),
        ]
        assert {judge(each, {}).judgement.reason for each in found if each.skip} == {found[0].skip, "left out"}

    def test_what_a_tier_lacks_is_not_run_with_a_reason(self) -> None:
        claim = dataclasses.replace(CLAIM, kinds=("vgg",))
        (case,) = cases([claim], TIER)
        found = judge(case, {}).judgement
        assert found.verdict == NOT_RUN
        assert "no vgg" in found.reason

    def test_a_claim_is_as_good_as_its_worst_setting_but_for_known_gaps(self) -> None:
        good = judge(self.case, self.records())
        bad = judge(self.case, self.records(distance=0.0))
        assert claim_verdict([good, bad]) == INVALID
        assert claim_verdict([good, dataclasses.replace(bad, known_gap="why")]) == HOLDS
        assert claim_verdict([dataclasses.replace(bad, known_gap="why")]) == INVALID


class TestResults:
    """The results file."""

    def document(self) -> dict[str, object]:
        claim = dataclasses.replace(CLAIM, kinds=(), study=computed(lambda: [("x", 0.5)]), expect=Within(0.0, 1.0))
        result = judge(Case(claim, None), {})
        return results_document(
            [result],
            tier="tiny",
            machine={"cores": 2},
            versions={},
            commit="c",
            started="now",
            seconds=1.0,
            made={"models": 3},
            selection={"pilot": False, "claims": [], **dict.fromkeys(("arch", "dataset", "max_width", "precision"))},
            evidence={name: [] for name in ("families", "models", "paths", "random_steps", "histograms")},
        )

    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "results.json"
        write_results(self.document(), path)
        found = read_results(path)
        assert found["made"] == {"models": 3}
        assert found["selection"]["pilot"] is False
        (claim,) = found["claims"]
        assert claim["verdict"] == HOLDS
        (setting,) = claim["settings"]
        (value,) = setting["values"]
        assert (value["width"], value["pair"], value["value"]) == (0.0, "0-0", 0.5)
        assert {"name", "verdict", "values", "effect", "p_value", "threshold"} <= set(setting)
        assert [path.name for path in path.parent.iterdir()] == ["results.json"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "cannot read"),
            ('{"schema": "other/1"}', "has schema 'other/1'"),
            ("[]", "has schema None"),
            ('{"schema": NaN}', "holds NaN"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "results.json"
        path.write_text(text, "utf-8")
        with pytest.raises(StoreError, match=message):
            read_results(path)

    def test_unwritable(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="choose another file with --lmc-results"):
            write_results(self.document(), tmp_path / "file" / "results.json")

    def test_table_counts_verdicts(self) -> None:
        lines = verdict_table(self.document())
        assert lines[-1] == "1 holds"
        assert "tiny-barrier" in lines[0]


def test_results_are_json_without_nan(tmp_path: Path) -> None:
    document = TestResults().document()
    document["seconds"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(document, tmp_path / "results.json")
    assert json.dumps(TestResults().document(), allow_nan=False)
