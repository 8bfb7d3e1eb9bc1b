"""Where things live and what to run on: what options, environment variables and defaults amount to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from lmc import host
from lmc.errors import SpecError
from lmc.executing.devices import resolve_device
from lmc.executing.options import HOME, OPTIONS
from lmc.references import Modules
from lmc.results.document import Selection


@dataclass(frozen=True)
class Settings:
    """Resolved settings of one run.

    Args:
        tier: name of the tier, or ``package.module:name`` of somebody else's.
        store: folder of models and measurements.
        data: folder of prepared datasets.
        device: ``"cpu"`` or the name of an accelerator, see `lmc.executing.devices`.
        workers: worker processes.
        home: the folder everything lives in by default.
        results: where the results file goes; ``None`` for a new file in the results folder.
        extra_claims: ``package.module:NAME`` of somebody else's claims, judged beside ours.
        claims: only claims whose id contains one of these; ``core`` stands for the paper's core claims.
            Empty for all.
        setting: only these settings of the tier; empty for all.
        role: only these families beside the strong one; empty for all.
        arch: only this kind of architecture; ``None`` for all.
        dataset: only this dataset; ``None`` for all.
        max_width: no model wider than this; ``None`` for no limit.
        precision: ``"fp32"`` or ``"bf16"`` for every model; ``None`` leaves it to the tier and the device.
        baseline: the results file the run is compared with; ``None`` for none.
        executor: ``"local"`` for processes on this machine, ``"ray"`` for tasks of a Ray cluster.
        ray_address: of that cluster; ``None`` for ``RAY_ADDRESS``, or a Ray of this run's own.
        device_because: why it is this device.
    """

    tier: str
    store: Path
    data: Path
    device: str
    workers: int
    home: Path
    results: Path | None = None
    extra_claims: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    arch: str | None = None
    dataset: str | None = None
    max_width: float | None = None
    precision: str | None = None
    baseline: Path | None = None
    executor: str = "local"
    ray_address: str | None = None
    device_because: str = field(default="", compare=False)

    @classmethod
    def resolve(cls, environ: Mapping[str, str] | None = None, **options: str | float | Path | None) -> Settings:
        """Options win over environment variables (``LMC_TIER`` and so on), those over defaults.

        Args:
            environ: environment variables; ``None`` reads the process's.
            **options: fields of `lmc.executing.options.OPTIONS`; ``None`` counts as not given.

        Raises:
            SpecError: a value is out of range.
            DeviceError: the device that is asked for is absent.
        """
        environ = os.environ if environ is None else environ
        default_home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmc"
        home = Path(environ.get("LMC_HOME") or default_home).expanduser()
        found: dict[str, Any] = {}
        for option in OPTIONS:
            value = options.get(option.field)
            text = str(value) if value is not None else environ.get(option.variable)
            text = text or option.default.replace(HOME, str(home))
            if text:
                found[option.field] = option.parse(text)
        executor = found["executor"]
        if executor != "ray" and (address := options.get("ray_address")) is not None:
            raise SpecError(f"a Ray cluster was named, {str(address)!r}, for executor {executor!r}; add --executor ray")
        device, because = resolve_device(found.pop("device"), here=executor == "local")
        workers = found.pop("workers", None) or host.cores()
        return cls(home=home, device=device, device_because=because, workers=workers, **found)

    @property
    def modules(self) -> Modules:
        """Somebody else's modules that the tier and the claims come from."""
        references = (self.tier, *self.extra_claims)
        names = tuple(dict.fromkeys(name for name, colon, _ in (each.partition(":") for each in references) if colon))
        return Modules(names, os.getcwd()) if names else Modules()

    def selection(self, *, pilot: bool = False) -> Selection:
        """What is asked to be judged, for the results file; a precision that is left open stays ``None``.

        Args:
            pilot: whether the seeds are those that thresholds are chosen on.
        """
        return replace(convert(self, Selection, from_attributes=True), pilot=pilot)
