"""The quick tier again and again in one process, with faults on: what grows, and whether any number changes.

``python benchmarks/soak.py --minutes 30 --results benchmarks/baselines/soak-cpu.json``. Each round loses or damages a
part of the store, makes it again while workers are killed, judges every claim and writes the report. The first round
makes everything, undisturbed; all later ones must find its numbers, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lmc.claims.judging import Case, judge
from lmc.errors import LmcError
from lmc.running.finish import finish
from lmc.running.machine import commit, machine_facts, version_facts
from lmc.running.session import make_missing, selected_cases
from lmc.running.settings import Settings
from lmc.training.store import Store
from lmc.training.upkeep import files_of, prunable

LOST = 0.03
"""The part of the store's cells that each round loses."""
DAMAGED = 4
"""Files that get a flipped bit, are cut short or emptied in each round."""
KILL_EVERY = 7.0
"""Seconds between two kills of a worker, on average."""
SETTLED = 3
"""Rounds before which memory and handles may grow: what is imported and cached is there then."""

FAULTS: Counter[str] = Counter()


def lose(store: Store, chance: random.Random) -> None:
    """Remove cells, and damage files of others."""
    for kind in ("measurements", "models"):
        for key in chance.sample(store.keys(kind), int(LOST * len(store.keys(kind)))):
            store.remove(kind, key)
            FAULTS[f"{kind} lost"] += 1
    files = [path for path in store.root.rglob("*.*") if path.is_file() and "damaged" not in path.parts]
    for path in chance.sample(sorted(files), DAMAGED):
        data = bytearray(path.read_bytes())
        place = chance.randrange(len(data))
        kind = chance.choice(("bit flipped", "cut short", "emptied"))
        if kind == "bit flipped":
            data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data) if kind == "bit flipped" else bytes(data[:place]) if kind == "cut short" else b"")
        FAULTS[f"file {kind}"] += 1


def workers() -> list[psutil.Process]:
    """Worker processes of this one: children of its fork server."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            found += child.children()
    return found


@contextlib.contextmanager
def killing(chance: random.Random) -> Iterator[None]:
    """Kill a worker now and then."""
    done = threading.Event()

    def kill() -> None:
        while not done.wait(chance.expovariate(1 / KILL_EVERY)):
            if found := workers():
                with contextlib.suppress(psutil.Error):
                    chance.choice(found).kill()
                    FAULTS["worker killed"] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def made(selected: list[Case], settings: Settings, folder: Path) -> Any:
    """One run to its results document, begun again where workers died too often; the claims' part of it."""
    while True:
        try:
            found = make_missing(selected, settings)
            break
        except LmcError as error:
            if "was killed" not in str(error):
                raise
            FAULTS["run ended for want of workers"] += 1
    judged = [judge(case, found.records) for case in selected]
    results = replace(settings, results=folder / "results.json")
    done = finish(judged, found, results, baseline=None, started=datetime.now(UTC).isoformat(), seconds=0.0)
    return done.document["claims"], found.counts


def usage(store: Store) -> dict[str, float]:
    """Memory of this process and its fork server in MiB, their open files and threads, and the store in MiB."""
    processes = [psutil.Process(), *psutil.Process().children()]
    size = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    kept = sum(path.stat().st_size for paths in prunable(store).values() for path in paths)
    return {
        "memory_mib": sum(each.memory_full_info().uss for each in processes) / 2**20,
        "open_files": sum(each.num_fds() for each in processes),
        "threads": sum(each.num_threads() for each in processes),
        "processes": len(processes),
        "store_mib": (size - kept) / 2**20,
        "set_aside_mib": kept / 2**20,
        "leases": len(list((store.root / "leases").glob("*"))),
        "partial_files": len(files_of(store)["temporary files"]),
    }


def growth(rounds: list[dict[str, float]], name: str) -> dict[str, float]:
    """First and last value once settled, and the slope per round."""
    values = [each[name] for each in rounds[SETTLED:]]
    slope = float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else 0.0
    return {"first": round(values[0], 2), "last": round(values[-1], 2), "per_round": round(slope, 4)}


def main() -> int:
    """Soak; exits with 1 where a number changed or a lease or process was left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--claims", default=None, help="only these claims of the quick tier")
    parser.add_argument("--results", type=Path, default=None)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    home = Path(tempfile.mkdtemp(prefix="lmc-soak-"))
    rounds: list[dict[str, float]] = []
    differing, counts, started = 0, Counter[str](), time.monotonic()
    try:
        settings = Settings.resolve({"LMC_HOME": str(home)}, device="cpu", tier="quick", claims=asked.claims)
        selected, store = selected_cases(settings), Store(settings.store)
        with contextlib.redirect_stderr(io.StringIO()):
            reference, _ = made(selected, settings, home)
        print(f"everything made in {time.monotonic() - started:.0f} s", flush=True)
        started = time.monotonic()
        while time.monotonic() - started < 60 * asked.minutes:
            lose(store, chance)
            with contextlib.redirect_stderr(io.StringIO()):
                with killing(chance):
                    claims, new = made(selected, settings, home)
                rounds.append(usage(store))
            differing += claims != reference
            counts.update(new)
            print(json.dumps({"round": len(rounds), "same": claims == reference, **rounds[-1]}), flush=True)
            shutil.rmtree(store.root / "damaged", ignore_errors=True)
            for path in files_of(store)["temporary files"]:
                path.unlink()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    names = ("memory_mib", "open_files", "threads", "store_mib")
    document = {
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rounds": len(rounds),
        "rounds_with_other_numbers": differing,
        "made_again": dict(counts),
        "faults": dict(FAULTS),
        "leases_left": max(each["leases"] for each in rounds),
        **{name: growth(rounds, name) for name in names},
        "machine": machine_facts(settings),
        "versions": version_facts(),
        "commit": commit(),
        "command": f"python benchmarks/soak.py --minutes {asked.minutes:g} --seed {asked.seed}",
    }
    text = json.dumps(document, indent=1)
    print(text)
    if asked.results:
        asked.results.write_text(text + "\n", "utf-8")
    return int(differing > 0 or document["leases_left"] > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
