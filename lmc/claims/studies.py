"""Where claims get their numbers: measurements of trained pairs, and samples of the theorems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lmc import theory
from lmc.claims.claim import Records, Study
from lmc.claims.statistics import Observation
from lmc.measuring.pairs import FULL_PATH, MIDPOINT, PairMeasurement
from lmc.tiers import Family, Setting

Values = dict[str, float | None]
"""Numbers of one pair by part (layer); the part is empty where there is only one number."""


def pair_measurements(family: Family, width: float) -> Iterator[tuple[bool, PairMeasurement]]:
    """Every pair of a family at one width: the whole path for independent pairs, else the midpoint."""
    for seeds in family.pairs:
        independent = seeds in family.independent
        a, b = (family.spec(width, seed) for seed in seeds)
        yield independent, PairMeasurement(a, b, FULL_PATH if independent else MIDPOINT)


def over_pairs(extract: Callable[[dict[str, Any]], Values], *groups: str) -> Study:
    """A study that takes ``extract(record)`` of every pair of the named families (default: strong)."""
    names = groups or ("strong",)

    def chosen(setting: Setting) -> Iterator[tuple[str, float, bool, PairMeasurement]]:
        families = [setting.families[name] for name in names]
        shared = [width for width in families[0].widths if all(width in each.widths for each in families)]
        for name, family in zip(names, families, strict=True):
            for width in shared:
                for independent, measurement in pair_measurements(family, width):
                    yield name, width, independent, measurement

    def needs(setting: Setting) -> list[PairMeasurement]:
        return [measurement for *_, measurement in chosen(setting)]

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            Observation(
                width,
                f"{measurement.a.init_seed}-{measurement.b.init_seed}",
                value,
                independent=independent,
                part=part,
                group=name,
            )
            for name, width, independent, measurement in chosen(setting)
            for part, value in extract(records[measurement.key]).items()
        ]

    return Study(needs, observe, names)


def barrier(name: str) -> Callable[[dict[str, Any]], Values]:
    """The barrier called ``name`` (``loss``, ``calibrated_loss``, ``accuracy``) at the midpoint."""
    return lambda record: {"": record["path"]["barriers"][f"{name}_barrier_midpoint"]}


def midpoint(quantity: str) -> Callable[[dict[str, Any]], Values]:
    """``quantity`` of the model merged at λ = ½."""

    def extract(record: dict[str, Any]) -> Values:
        path = record["path"]
        return {"": path["points"][path["lams"].index(0.5)][quantity]}

    return extract


def layers(group: str, quantity: str, *, skip: int = 0, only_last: bool = False) -> Callable[..., Values]:
    """``quantity`` of every layer.

    Args:
        group: ``outputs``, ``relus`` or ``weights`` (see `lmc.measuring.layers.measure_layers`).
        quantity: its name there.
        skip: how many first layers are left out.
        only_last: the last layer alone.
    """

    def extract(record: dict[str, Any]) -> Values:
        found = list(record["layers"][group].items())
        return {name: values[quantity] for name, values in (found[-1:] if only_last else found[skip:])}

    return extract


def self_merge() -> Study:
    """The largest barrier of a model merged with itself, at every width."""

    def chosen(setting: Setting) -> list[PairMeasurement]:
        family = setting.families["strong"]
        specs = [family.spec(width, family.seeds[0]) for width in family.widths]
        return [PairMeasurement(spec, spec, MIDPOINT) for spec in specs]

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [
            Observation(each.a.width, f"{each.a.init_seed}-{each.a.init_seed}", value, part=name)
            for each in chosen(setting)
            for name, value in records[each.key]["path"]["barriers"].items()
            if name.endswith("midpoint")
        ]

    return Study(chosen, observe)


def computed(compute: Callable[[], Sequence[tuple[str, float]]]) -> Study:
    """A study that trains nothing: named numbers computed on the spot, from a fixed seed."""

    def observe(setting: Setting, records: Records) -> list[Observation]:
        return [Observation(0.0, "0-0", value, part=part) for part, value in compute()]

    return Study(lambda _: [], observe, ())


def theorem_5_3_errors() -> list[tuple[str, float]]:
    """LEWC error of random nets that meet both conditions, for several depths and numbers of models."""
    rng = np.random.default_rng(53)
    found = []
    for count in (2, 3, 5):
        for depth in (1, 2, 4, 8):
            nets = theory.orthogonal_nets(rng, models=count, layers=depth, units=12, inputs=9, classes=5)
            weights = rng.dirichlet(np.ones(count)).tolist()
            error = theory.lewc_error(nets, weights, rng.standard_normal((20, 9)))
            found.append((f"{count} models, {depth} layers", error))
    return found


def theorem_5_3_slopes() -> list[tuple[str, float]]:
    """d log(LEWC error) / d log(violation) when one premise of Theorem 5.3 is violated a little."""
    found = []
    sizes = np.array([1e-5, 1e-4, 1e-3, 1e-2])
    for name in ("leak", "overlap", "bias"):
        errors = []
        for size in sizes:
            rng = np.random.default_rng(53)
            violation = {name: float(size)}
            nets = theory.orthogonal_nets(rng, models=2, layers=4, units=16, inputs=9, classes=5, **violation)
            errors.append(theory.lewc_error(nets, (0.5, 0.5), rng.standard_normal((200, 9))))
        slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
        found.append((name, slope))
    return found


def theorem_5_4_limit() -> list[tuple[str, float]]:
    """Mean cosine of high-dimensional Gaussian vectors at λ = ½."""
    rng = np.random.default_rng(54)
    return [("d = 20000", float(theory.sampled_additivity(rng, 20_000, 100).mean()))]


def theorem_5_4_rate() -> list[tuple[str, float]]:
    """d log(deviation) / d log(dimension) of the cosine's root-mean-square deviation from the limit."""
    rng = np.random.default_rng(54)
    dimensions = np.array([64, 256, 1024, 4096])
    spread = [
        float(np.sqrt(np.mean((theory.sampled_additivity(rng, int(d), 600) - theory.GAUSSIAN_NULL) ** 2)))
        for d in dimensions
    ]
    return [("slope", float(np.polyfit(np.log(dimensions), np.log(spread), 1)[0]))]


def theorem_5_4_lambdas() -> list[tuple[str, float]]:
    """Sampled mean cosine less c(λ), for several λ."""
    rng = np.random.default_rng(54)
    return [
        (
            f"λ = {lam:g}",
            float(theory.sampled_additivity(rng, 10_000, 100, lam).mean()) - theory.additivity_limit(lam),
        )
        for lam in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
