"""Results files of the schema lmc-results/2, which kept sentences and pairs as text.

Every field of theirs is checked, and an unknown one refused, so that nothing is lost without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from lmc.claims.verdicts import Verdict
from lmc.results import document as new
from lmc.results import recorded, scalars
from lmc.results.known_gaps import explained, with_role
from lmc.results.old_sentences import asked_from, group_from, reason_from, unpermuted
from lmc.results.scalars import Count, NonNegative, Number, Positive, Text
from lmc.tiers.seeds import PILOT_OFFSET

_Pair = Annotated[str, Meta(pattern=r"^\d{1,15}(-\d{1,15})*$")]
_KINDS = ("mlp", "vgg", "resnet")

_ITEMS = {
    "Conjecture 1.1": ("fig16-", "fig17-"),
    "Figure 1": ("fig1-", "control-narrow"),
    "Figure 2": ("fig2a", "fig2b"),
    "Table 1": ("table1",),
    "Theorem 5.3": ("thm5.3", "kmodels", "lewc-inverse"),
    "Figure 4": ("fig4-",),
    "Theorem 5.4": ("thm5.4", "fig4-additivity-exceeds"),
    "Figure 5": ("fig5-", "sec5.2"),
    "Figure 9": ("fig9-", "sec5.4"),
    "Figure 10": ("fig10",),
    "Figure 11": ("fig11", "appC"),
    "Figure 12": ("fig12-", "appD"),
    "Figure 18": ("sec3.2", "fig18"),
    "Figure 19": ("fig19-", "lewc-inverse"),
    **{f"Figure {number}": (f"fig{number}-",) for number in (3, 6, 7, 8, *range(13, 18), *range(20, 28))},
}
"""What the ids of claims meant: their prefixes by item of the paper."""


class _Value(Struct, forbid_unknown_fields=True):
    width: NonNegative
    pair: _Pair
    value: Number | None
    part: Text
    group: Text
    independent: bool

    def migrated(self) -> new.Value:
        return new.Value(
            width=self.width,
            seeds=_seeds(self.pair) if self.width else (),
            value=self.value,
            part=self.part,
            group=group_from(self.group),
            independent=self.independent,
        )


class _Setting(Struct, forbid_unknown_fields=True):
    name: Text
    verdict: Verdict
    reason: Text
    known_gap: Text
    effect: Number | None
    interval: tuple[Number | None, Number | None] | None
    p_value: Number | None
    threshold: Text
    values: list[_Value]

    def migrated(self) -> new.Judged:
        reason, part, mean_of = reason_from(self.reason, {each.part for each in self.values} - {""})
        return new.Judged(
            name=self.name,
            verdict=self.verdict,
            reason=unpermuted(reason) if "none" in {each.group for each in self.values} else reason,
            part=part,
            mean_of=mean_of,
            effect=self.effect,
            interval=self.interval,
            p_value=self.p_value,
            asked=asked_from(self.threshold),
            values=tuple(each.migrated() for each in self.values),
            kind=next((kind for kind in _KINDS if self.name.startswith(kind)), ""),
            explained=explained(self.known_gap),
        )


class _Claim(Struct, forbid_unknown_fields=True):
    id: Text
    ref: Text
    statement: Text
    verdict: Verdict
    reason: Text  # that of one of the settings
    unit: Text
    why: Text
    settings: Annotated[list[_Setting], Meta(min_length=1)]

    def migrated(self) -> new.Claim:
        claim = new.Claim(
            id=self.id,
            ref=self.ref,
            items=tuple(item for item, prefixes in _ITEMS.items() if self.id.startswith(prefixes)),
            statement=self.statement,
            verdict=self.verdict,
            unit=self.unit,
            why=self.why,
            history="",
            settings=tuple(each.migrated() for each in self.settings),
        )
        return with_role(claim)


class _Family(Struct, forbid_unknown_fields=True):
    setting: Text
    role: Text
    recipe: dict[Text, scalars.Scalar]
    widths: tuple[Positive, ...]
    seeds: scalars.Seeds

    def migrated(self) -> recorded.Family:
        arch, dataset = self.recipe.get("arch"), self.recipe.get("dataset")
        if not isinstance(arch, str) or not isinstance(dataset, str):
            raise ValueError(f"the recipe of {self.role} on {self.setting} lacks its arch or dataset")
        return recorded.Family(
            setting=self.setting,
            kind=next((kind for kind in _KINDS if arch.startswith(kind)), arch),
            role=self.role,
            dataset=dataset,
            arch=arch,
            recipe=self.recipe,
            widths=self.widths,
            seeds=self.seeds,
        )


class _Model(recorded.Model, frozen=True, forbid_unknown_fields=True): ...


class _Ensemble(recorded.Ensemble, frozen=True, forbid_unknown_fields=True): ...


class _MadeCounts(new.MadeCounts, frozen=True, forbid_unknown_fields=True): ...


class _Selection(new.Selection, frozen=True, forbid_unknown_fields=True): ...


class _Home(Struct):
    setting: Text
    role: Text
    width: Positive

    @property
    def home(self) -> tuple[str, str, float]:
        return self.setting, self.role, self.width


class _Path(_Home, forbid_unknown_fields=True):
    pair: _Pair
    alignment: Text
    lams: Annotated[tuple[Number, ...], Meta(min_length=1)]
    accuracy: tuple[Number, ...]
    loss: tuple[Number, ...]
    beta: tuple[Number | None, ...]
    calibrated_loss: tuple[Number | None, ...]
    ensemble: _Ensemble

    def migrated(self) -> recorded.Path:
        return recorded.Path(
            *self.home,
            seeds=_seeds(self.pair),
            alignment=group_from(self.alignment),
            lams=self.lams,
            accuracy=self.accuracy,
            loss=self.loss,
            beta=self.beta,
            calibrated_loss=self.calibrated_loss,
            ensemble=recorded.Ensemble(**asdict(self.ensemble)),
        )


class _Outputs(_Home, forbid_unknown_fields=True):
    pair: _Pair
    layers: tuple[Text, ...]
    norm_merged: tuple[Number | None, ...]
    norm_endpoints: tuple[Number | None, ...]
    endpoint_cosine: tuple[Number | None, ...]

    def migrated(self) -> recorded.Outputs:
        numbers = self.norm_merged, self.norm_endpoints, self.endpoint_cosine
        return recorded.Outputs(*self.home, _seeds(self.pair), self.layers, *numbers)


class _RandomStep(_Home, forbid_unknown_fields=True):
    pair: _Pair
    alphas: tuple[Number, ...]
    accuracy: tuple[Number, ...]
    loss: tuple[Number, ...]

    def migrated(self) -> recorded.RandomStep:
        return recorded.RandomStep(*self.home, _seeds(self.pair), self.alphas, self.accuracy, self.loss)


class _Histogram(_Home, forbid_unknown_fields=True):
    seed: Count
    relus: dict[Text, tuple[Count, ...]]

    def migrated(self) -> recorded.Histogram:
        return recorded.Histogram(*self.home, self.seed, self.relus)


class _Evidence(Struct, forbid_unknown_fields=True):
    families: list[_Family]
    models: list[_Model]
    paths: list[_Path]
    random_steps: list[_RandomStep]
    histograms: list[_Histogram]
    outputs: list[_Outputs] = []  # files from before they were kept lack them

    def migrated(self) -> recorded.Evidence:
        return recorded.Evidence(
            families=tuple(each.migrated() for each in self.families),
            models=tuple(recorded.Model(**asdict(each)) for each in self.models),
            paths=tuple(each.migrated() for each in self.paths),
            outputs=tuple(each.migrated() for each in self.outputs),
            random_steps=tuple(each.migrated() for each in self.random_steps),
            histograms=tuple(each.migrated() for each in self.histograms),
        )


class _Document(Struct, forbid_unknown_fields=True):
    schema: Text
    tier: Text
    started: Text
    seconds: NonNegative
    commit: Text
    machine: dict[Text, scalars.Scalar]
    versions: dict[Text, Text]
    made: _MadeCounts
    claims: list[_Claim]
    evidence: _Evidence
    selection: _Selection | None = None  # files from before it was kept tell only by seeds whether of pilots

    def migrated(self) -> new.Document:
        pilot = any(seed >= PILOT_OFFSET for family in self.evidence.families for seed in family.seeds)
        return new.Document(
            tier=self.tier,
            started=self.started,
            seconds=self.seconds,
            commit=self.commit,
            machine=self.machine,
            versions=self.versions,
            made=new.MadeCounts(**asdict(self.made)),
            selection=new.Selection(**asdict(self.selection)) if self.selection else new.Selection(pilot=pilot),
            claims=tuple(each.migrated() for each in self.claims),
            evidence=self.evidence.migrated(),
        )


def migrated(found: Mapping[str, Any]) -> new.Document:
    """The document that a results file of the schema lmc-results/2 holds.

    Args:
        found: its content, as JSON gives it.

    Raises:
        ValueError: it lacks a part, or has a wrong or an unknown one.
    """
    return msgspec.convert(found, _Document).migrated()


def _seeds(pair: str) -> scalars.Seeds:
    return tuple(map(int, pair.split("-")))
