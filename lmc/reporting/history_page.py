"""The page that shows how the claims fared from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lmc.reporting.figures import Axis, Figure, Mean, Panel, Series, finite
from lmc.reporting.report import environment
from lmc.reporting.zones import zone_of_effect
from lmc.results.difference import Case
from lmc.results.document import Claim
from lmc.results.history import History, Seen


def history_page(history: History) -> str:
    """The history as one HTML page: what changed, and every claim's effect from run to run."""
    cases = history.cases()
    said = {claim.id: claim for run in history.runs for claim in run.document.claims}
    page = environment().get_template("history.html.j2")
    return page.render(
        history=history,
        turns=history.turns(),
        claims=[(said[name], _of_claim(cases, name)) for name in dict.fromkeys(claim for claim, _ in cases)],
        figures={name: figure for name in said if (figure := effect_figure(history, said[name])) is not None},
    )


def effect_figure(history: History, claim: Claim) -> Figure | None:
    """A claim's effect from run to run, a diagram for each setting; ``None`` where no run has one."""
    ticks = tuple((float(at), str(at + 1)) for at in range(len(history.runs)))
    panels = []
    for setting, seen in _of_claim(history.cases(), claim.id).items():
        drawn = tuple(
            Series(name, means=means) for name, mine in history.by_series(seen).items() if (means := _effects(mine))
        )
        if len(drawn) > 1:
            drawn = tuple(replace(each, label=each.label or "as the tier has it") for each in drawn)
        if drawn:
            asked = next((judged.asked for _, (_, judged) in reversed(seen) if judged.asked), None)
            axes = Axis("run", ticks), Axis(f"effect ({claim.unit})")
            panels.append(Panel(setting, *axes, drawn, zone_of_effect(asked)))
    caption = (
        "Effect with its 95 % interval by run; the shaded zone satisfies the threshold. Runs of other widths or "
        "another precision have a line of their own."
    )
    return Figure(claim.id, claim.statement, caption, tuple(panels)) if panels else None


def _of_claim(cases: Mapping[Case, Seen], name: str) -> dict[str, Seen]:
    return {setting: seen for (claim, setting), seen in cases.items() if claim == name}


def _effects(seen: Seen) -> tuple[Mean, ...]:
    return tuple(
        Mean(float(at), judged.effect, *(judged.interval or (None, None)))
        for at, (_, judged) in seen
        if judged.effect is not None and finite([judged.effect])
    )
