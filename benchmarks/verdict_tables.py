"""Markdown tables of the committed verdicts: the README's, and those of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from committed import Run, committed

from lmc.claims.claim import Claim
from lmc.claims.paper import CLAIMS
from lmc.claims.verdicts import CHECK, CLAIM, FOUND_HERE, NOT_RUN, Role
from lmc.reporting.marks import MARKS
from lmc.results.deciding import counted
from lmc.results.wording import asked_in_words, measured_in_words, remark_in_words

NOTHING = ""
"""The cell of a case that was not run, or that there is none of."""

COLUMNS = {
    "mlp-digits": "MLP digits",
    "mlp-mnist": "MLP MNIST",
    "mlp-fashion-mnist": "MLP Fashion",
    "vgg-digits": "VGG digits",
    "vgg-cifar10-2": "VGG CIFAR",
    "resnet-digits": "ResNet digits",
    "resnet-cifar10-2": "ResNet CIFAR",
}
"""The README's columns, by setting; CIFAR is of two classes of CIFAR-10."""


@dataclass(frozen=True)
class Line:
    """A row of the README's summary.

    Args:
        text: what is claimed.
        where: in the paper.
        claims: that decide it; each gets a mark of its own.
    """

    text: str
    where: str
    claims: tuple[str, ...]


SUMMARY = (
    Line("Narrow models do not merge", "Fig. 1, 2", ("control-narrow-barrier",)),
    Line("Accuracy of the average rises with width and reaches the models'", "Fig. 1", (
        "fig1-accuracy-rises-with-width", "fig1-accuracy-reaches-endpoints")),
    Line("Calibrated barrier falls with width, to nearly zero", "Fig. 2", (
        "fig2b-calibrated-barrier-falls-with-width", "fig2b-calibrated-barrier-approaches-zero")),
    Line("Layers of the average are the sum of the models' layers (LEWC)", "Fig. 3", ("fig3-lewc-rises-with-width",)),
    Line("Weak additivity beats chance, and rises with width", "Fig. 4", (
        "fig4-additivity-exceeds-gaussian-null", "fig4-additivity-rises-with-width")),
    Line("Models become orthogonal to each other with width", "Fig. 7", ("fig7-orthogonality-ratio-falls-with-width",)),
    Line("Weak decay raises the barrier", "§5.4, Fig. 9", ("fig9-weak-decay-raises-barrier",)),
    Line("Less decay lowers the barrier", "F.9, Fig. 23", ("fig23-less-decay-less-barrier",)),
    Line("Any permutation merges as well as none", "Fig. 18", ("sec3.2-random-permutations-do-no-harm",)),
    Line("β rises with width; for plain MLPs to 2^(L-1)", "Fig. 19", (
        "fig19-inverse-temperature-rises-with-width", "lewc-inverse-temperature-doubles-per-layer")),
    Line("Matching lowers the barrier", "Fig. 17", ("fig17-matching-lowers-barrier",)),
    Line("Sophia's models merge when wide", "Fig. 24", ("fig24-sophia-barrier-falls-with-width",)),
    Line("*Found here:* a complementary sum needs no β and keeps the accuracy", "", (
        "sum-needs-no-temperature", "sum-keeps-the-accuracy")),
)  # fmt: skip
"""What the README says of the paper in about twelve rows."""

_EMPTY = "empty: not asked there, or not judged since the claim changed."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, whose cells may hold bars."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def mark(run: Run | None, claim: str, setting: str) -> str:
    """The mark of a case; nothing where it was not run."""
    found = run.found.get((claim, setting)) if run else None
    return NOTHING if found is None or found[1].verdict == NOT_RUN else MARKS[found[1].shown]


def legend() -> str:
    """What the marks mean."""
    return ", ".join(f"{sign} {verdict}" for verdict, sign in MARKS.items() if verdict != NOT_RUN)


def summary() -> str:
    """The README's rows, by architecture."""
    run_of = {setting: run for run in committed().values() for setting in run.settings}
    columns = {setting: title for setting, title in COLUMNS.items() if setting in run_of}
    rows = []
    for line in SUMMARY:
        cells = [" ".join(mark(run_of[name], claim, name) for claim in line.claims).strip() for name in columns]
        rows.append([f"{line.text} ({line.where})" if line.where else line.text, *cells])
    return f"{table(['', *columns.values()], rows)}\n\n{legend()};\n{_EMPTY}"


def counts() -> str:
    """How many verdicts of each kind every committed run has, on what machine."""
    rows = []
    for run in committed().values():
        for path, document in zip(run.files, run.documents, strict=True):
            machine, models = document.machine, document.evidence.models
            where = str(machine.get("gpu") or f"{machine['cores']} cores of {machine['processor']}")
            training = f"{sum(model.seconds for model in models) / 60:.1f} core minutes"
            whole = f"{document.seconds:.0f} s" if document.made.models else "from the store"
            torch = document.versions["torch"]
            told = "; ".join(counted(document))
            rows.append([f"`{path.name}`", where, torch, f"{len(models)} models", training, whole, told])
    return table(["run", "machine", "torch", "trained", "training", "whole run", "verdicts"], rows)


def matrix() -> str:
    """Every claim by the settings of every committed tier: claims of the paper, checks, and what was found here."""
    runs = [run for run in committed().values() if run.settings]
    named = [f"{each} ({run.tier})" for run in runs for each in run.settings]
    parts = []
    for role, title in TITLES.items():
        claims = [claim for claim in CLAIMS if claim.role == role and claim.kinds]
        rows = [
            [f"`{claim.id}`", *(mark(run, claim.id, each) for run in runs for each in run.settings)] for claim in claims
        ]
        parts.append(f"### {title}\n\n{table(['', *named], rows)}")
    theorems = [claim for claim in CLAIMS if not claim.kinds]
    rows = [[f"`{claim.id}`", *(mark(run, claim.id, "theory") for run in runs)] for claim in theorems]
    parts.append(f"### Theorems, without models\n\n{table(['', *(run.tier for run in runs)], rows)}")
    return "\n\n".join([f"{legend()};\n{_EMPTY}", *parts])


TITLES: Mapping[Role, str] = {
    CLAIM: "Claims of the paper",
    CHECK: "Checks: what follows from a symmetry or another bound",
    FOUND_HERE: "Found here",
}


def claims_of(role: Role) -> list[Claim]:
    """The claims of a role, in paper order."""
    return [claim for claim in CLAIMS if claim.role == role]


def explanations() -> str:
    """Every failure of the committed runs that is explained, folded."""
    parts = []
    for run in committed().values():
        for claim, judged in run.found.values():
            if judged.explained:
                numbers = f"Measured: {measured_in_words(judged)}. Asked: {asked_in_words(judged.asked)}."
                head = f"<summary><code>{claim.id}</code> on {judged.name} ({run.tier})</summary>"
                parts.append(f"<details>{head}\n\n{numbers}\n\n{remark_in_words(judged)}\n\n</details>")
    return "\n\n".join(parts)
