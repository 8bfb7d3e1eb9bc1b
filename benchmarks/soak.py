"""The quick tier again and again in one process, with faults on: what grows, and whether any number changes.

``python benchmarks/soak.py --minutes 30 --results benchmarks/baselines/soak-cpu.json``. Each round loses or damages a
part of the store, makes it again while workers are killed, is interrupted once on its way, now and then with a full
disk (where one can be mounted: as root), judges every claim and writes the report. The first round makes everything,
undisturbed; all later ones must find its numbers, bit for bit, and use no more than `LIMITS` allow.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lmc.claims.cases import Case, judge
from lmc.commands.finish import finish
from lmc.commands.machine import commit, machine_facts, version_facts
from lmc.errors import LmcError
from lmc.executing.session import make_missing, selected_cases
from lmc.executing.settings import Settings
from lmc.store.store import Store
from lmc.store.upkeep import files_of, prunable

LOST = 0.03
"""The part of the store's cells that each round loses."""
DAMAGED = 4
"""Files that get a flipped bit, are cut short or emptied in each round."""
KILL_EVERY = 7.0
"""Seconds between two kills of a worker, on average."""
KILLS = 6
"""Kills in one round: on a machine so slow that no cell is made between two of them, it would never end."""
INTERRUPTED_WITHIN = 20.0
"""Seconds from a round's start within which it is interrupted; a round that is done before is not."""
FULL_DISK = 0.3
"""The part of the rounds that begin with a disk on which little more fits than what is there."""
DISK, ROOM = 8 << 30, 256 << 10
"""Bytes of the store's disk, and what is free of it while it is full: some records fit, hardly a model."""
SETTLED = 3
"""Rounds before which memory and handles may grow: what is imported and cached is there then."""
FEWEST = 9
"""Settled rounds without which growth is not judged, and the soak fails for it: three in each third have a median."""
LIMITS = {"memory_mib": 25.0, "open_files": 3.0, "threads": 3.0, "processes": 0.5, "store_mib": 1.0}
"""How much more the last third of the settled rounds may use than the first, each by its median.

Handles: one left behind in each round makes six more over nine rounds. Processes: main, fork server and resource
tracker, always. Memory: a round's results are 2.3 MB of JSON, some 10 MiB once read, so that a process that kept every
round's would be 60 MiB larger after nine rounds; less than half of that may be the allocator's. The store: every round
ends with the same cells, of which only the digits of the seconds they took change.
"""

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
        left = KILLS
        while left and not done.wait(chance.expovariate(1 / KILL_EVERY)):
            if found := workers():
                with contextlib.suppress(psutil.Error):
                    chance.choice(found).kill()
                    FAULTS["worker killed"] += 1
                    left -= 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Interruption(KeyboardInterrupt):
    """A Ctrl-C that nobody pressed."""


@contextlib.contextmanager
def interrupted(seconds: float) -> Iterator[None]:
    """Stop what is done within, as Ctrl-C does, after so many seconds."""

    def stop(*_: object) -> None:
        raise Interruption

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def mounted(options: str, folder: Path) -> bool:
    """Mount a small disk on ``folder``, or give the one that is there another size."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def made(selected: list[Case], settings: Settings, folder: Path, stop_after: float = 0.0) -> Any:
    """One run to its results document, begun again where a fault ended it; the claims' part of it."""
    while True:
        try:
            with interrupted(stop_after):
                found = make_missing(selected, settings)
            break
        except Interruption:
            FAULTS["run interrupted"] += 1
            stop_after = 0.0  # no more in this round
        except LmcError as error:
            if "free some space" in str(error):
                FAULTS["run ended by a full disk"] += 1
                mounted(f"remount,size={DISK}", settings.store)
            elif "was killed" in str(error):
                FAULTS["run ended for want of workers"] += 1
            else:
                raise
    judged = [judge(case, found.records) for case in selected]
    results = replace(settings, results=folder / "results.json")
    done = finish(judged, found, results, baseline=None, started=datetime.now(UTC).isoformat(), seconds=0.0)
    return done.document.claims, found.counts


def workers_left(patience: float = 5.0) -> int:
    """Worker processes that outlive a run, after the seconds in which the fork server buries them."""
    end = time.monotonic() + patience
    while workers() and time.monotonic() < end:
        time.sleep(0.05)
    return len(workers())


def usage(store: Store) -> dict[str, float]:
    """Memory of this process and its fork server in MiB, their open files and threads, and the store in MiB."""
    left = workers_left()
    processes = [psutil.Process(), *psutil.Process().children()]
    size = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    kept = sum(path.stat().st_size for paths in prunable(store).values() for path in paths)
    return {
        "memory_mib": sum(each.memory_full_info().uss for each in processes) / 2**20,
        "open_files": sum(each.num_fds() for each in processes),
        "threads": sum(each.num_threads() for each in processes),
        "processes": len(processes),
        "workers_left": left,
        "store_mib": (size - kept) / 2**20,
        "set_aside_mib": kept / 2**20,
        "leases": len(list((store.root / "leases").glob("*"))),
        "partial_files": len(files_of(store)["temporary files"]),
    }


def growth(rounds: Sequence[dict[str, float]], name: str) -> dict[str, float | None]:
    """How a figure grew over the settled rounds; ``None`` for what there are too few of them for.

    Returns:
        ``first`` and ``last`` value, slope ``per_round``, and ``grown``: from the median of the first third to that of
        the last, which no single round moves; beside it its ``limit``.
    """
    values = [each[name] for each in rounds[SETTLED:]]
    third = len(values) // 3
    return {
        "first": round(values[0], 2) if values else None,
        "last": round(values[-1], 2) if values else None,
        "per_round": round(float(np.polyfit(range(len(values)), values, 1)[0]), 4) if len(values) > 1 else None,
        "grown": round(float(np.median(values[-third:]) - np.median(values[:third])), 4) if third else None,
        "limit": LIMITS[name],
    }


def problems(rounds: Sequence[dict[str, float]], differing: int) -> list[str]:
    """What a soak must not show, one line each."""
    found = [f"{differing} rounds with other numbers"] if differing else []
    for name in ("leases", "workers_left"):
        if left := sum(each[name] for each in rounds):
            found.append(f"{left:g} {name.removesuffix('_left')} left behind")
    settled = len(rounds) - SETTLED
    if settled < FEWEST:
        return [*found, f"too few rounds to judge growth: {max(settled, 0)} settled of {FEWEST}; use more --minutes"]
    for name, limit in LIMITS.items():
        grown = growth(rounds, name)["grown"]
        if grown is None or not grown <= limit:
            found.append(f"{name} grew by {grown} over {settled} settled rounds; at most {limit:g} is allowed")
    return found


def main() -> int:
    """Soak; exits with 1 where a number changed, a lease or process was left behind, or anything grew."""
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
        store.root.mkdir(parents=True)
        small = mounted(f"size={DISK}", store.root)
        with contextlib.redirect_stderr(io.StringIO()):
            reference, _ = made(selected, settings, home)
        print(f"everything made in {time.monotonic() - started:.0f} s", flush=True)
        started = time.monotonic()
        while time.monotonic() - started < 60 * asked.minutes:
            lose(store, chance)
            if small and chance.random() < FULL_DISK:
                mounted(f"remount,size={shutil.disk_usage(store.root).used + ROOM}", store.root)
            with contextlib.redirect_stderr(io.StringIO()):
                with killing(chance):
                    claims, new = made(selected, settings, home, chance.uniform(0.5, INTERRUPTED_WITHIN))
                rounds.append(usage(store))
            mounted(f"remount,size={DISK}", store.root)
            differing += claims != reference
            counts.update(new)
            print(json.dumps({"round": len(rounds), "same": claims == reference, **rounds[-1]}), flush=True)
            shutil.rmtree(store.root / "damaged", ignore_errors=True)
            for path in files_of(store)["temporary files"]:
                path.unlink()
    finally:
        subprocess.run(["umount", "-l", str(home / "store")], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)
    document = {
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rounds": len(rounds),
        "rounds_with_other_numbers": differing,
        "made_again": dict(counts),
        "faults": dict(FAULTS),
        "leases_left": sum(each["leases"] for each in rounds),
        "workers_left": sum(each["workers_left"] for each in rounds),
        "settled_rounds": max(0, len(rounds) - SETTLED),
        **{name: growth(rounds, name) for name in LIMITS},
        "problems": problems(rounds, differing),
        "machine": machine_facts(settings),
        "versions": version_facts(),
        "commit": commit(),
        "command": f"python benchmarks/soak.py --minutes {asked.minutes:g} --seed {asked.seed}",
    }
    text = json.dumps(document, indent=1)
    print(text)
    if asked.results:
        asked.results.write_text(text + "\n", "utf-8")
    return int(bool(document["problems"]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
