"""Weight matching: the permutation of model b that is closest to model a (Ainsworth et al., ICLR 2023)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lmc.errors import MergeError
from lmc.merging.matching_problem import Problem
from lmc.merging.permutation_spec import PermutationSpec, random_permutations
from lmc.merging.weights import State

FALLING = 0.75
"""From one round of Bellman-Ford to the next, the largest share of potentials that still change where it goes on.
They fell to less than half where a permutation was the best (256 to 1024 channels), and rose where it was not."""


@dataclass(frozen=True)
class MatchingResult:
    """What `weight_matching` found.

    Args:
        permutations: π, per group int64 (channels,); `lmc.merging.permutation_spec.permute` applies it to b.
        objective: Σ <a, π(b)> over the parameters.
        sweeps: passes over the groups, the last one usually without an improvement.
        history: the objective at the start and after every sweep; it never decreases.
    """

    permutations: dict[str, Tensor]
    objective: float
    sweeps: int
    history: tuple[float, ...]


@torch.no_grad()
def weight_matching(
    spec: PermutationSpec, a: State, b: State, *, seed: int = 0, max_sweeps: int = 100, restarts: int = 1
) -> MatchingResult:
    """Maximise Σ <a, π(b)> over the parameters, which is to minimise ‖a - π(b)‖, by coordinate descent.

    One group at a time, in random order, gets its best permutation given all others: a linear assignment
    problem, solved exactly. Groups that share no parameter are solved at once, in as many threads as torch
    uses, which changes no result. Gains are float32 unless the weights are wider; whether a step raises the
    objective is decided in float64. It ends when no group can raise it, by its gains, given the others.

    The first start is the better of the identity and one pass in the order of the graph, in which each group is
    matched by the weights that only groups before it share: it finds a permutation that b is of a, where no
    two channels are alike.

    Args:
        spec: see `lmc.merging.tracing.trace_permutation_spec`.
        a: state dict to match.
        b: state dict to permute, of the same architecture. Running statistics do not count.
        seed: of the order of groups and of the restarts.
        max_sweeps: a sweep tries every group whose neighbours have changed since its last turn; the pass in the order
            of the graph is none.
        restarts: number of starts: the first as above, others from random permutations; the best counts.

    Returns:
        The permutations and how they were found; the same for the same seed.

    Raises:
        MergeError: the states do not fit each other or the specification, a weight is not finite, or a
            number is out of range.

    Deviates:
        A group may own both axes of a matrix (a residual branch of one layer). The problem is then quadratic;
        its linearisation is solved, and the step is taken only where the true objective grows.

    Example:
        >>> from lmc import permute, random_permutations, trace_permutation_spec
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
        >>> spec = trace_permutation_spec(net, torch.zeros(2, 3))
        >>> shuffled = permute(net.state_dict(), spec, random_permutations(spec, seed=0))
        >>> found = weight_matching(spec, net.state_dict(), shuffled).permutations
        >>> torch.equal(permute(shuffled, spec, found)["0.weight"], net[0].weight)
        True
    """
    if max_sweeps < 1 or restarts < 1:
        raise MergeError(f"max_sweeps is {max_sweeps} and restarts {restarts}; both must be at least 1")
    problem = Problem(spec, a, b)
    rng = np.random.default_rng(seed)
    best: MatchingResult | None = None
    with ThreadPoolExecutor(max(torch.get_num_threads(), 1)) as pool:
        for start in range(restarts):
            if start == 0:
                current, objective = _first_start(problem)
            else:
                current = random_permutations(spec, int(rng.integers(2**62)))
                objective = problem.objective(current)
            found = _ascend(problem, current, objective, rng, max_sweeps, pool)
            if best is None or found.objective > best.objective:
                best = found
    assert best is not None
    return best


def _first_start(problem: Problem) -> tuple[dict[str, Tensor], float]:
    """The identity, or the matching of one pass in the order of the graph where its objective is larger; with that."""
    identity = {group: torch.arange(size) for group, size in problem.sizes.items()}
    found: dict[str, Tensor] = {}
    left = list(problem.sizes)
    while left:
        group, gains = left[0], None
        for each in left:
            if (gains := problem.gains(each, found)) is not None:
                group = each
                break
        left.remove(group)
        found[group] = identity[group] if gains is None else torch.from_numpy(assign(gains.numpy()))
    objectives = problem.objective(identity), problem.objective(found)
    return (found, objectives[1]) if objectives[1] > objectives[0] else (identity, objectives[0])


def _ascend(
    problem: Problem,
    current: dict[str, Tensor],
    objective: float,
    rng: np.random.Generator,
    max_sweeps: int,
    pool: ThreadPoolExecutor,
) -> MatchingResult:
    history = [objective]
    stale = set(problem.sizes)  # until a group is optimal given its neighbours
    while stale and len(history) <= max_sweeps:
        order = [str(group) for group in rng.permutation(sorted(problem.sizes))]
        history.append(history[-1])
        for batch in ([group for group in level if group in stale] for level in problem.batches(order)):
            tasks = {}
            for group in batch:
                gains = problem.gains(group, current)
                assert gains is not None
                tasks[group] = pool.submit(assign, gains.numpy(), current[group].numpy())
            stale -= set(batch)
            for group, task in tasks.items():
                new = torch.from_numpy(task.result())
                gain = problem.gain_of(group, new, current)
                if gain > problem.least_gain:
                    current[group] = new
                    history[-1] += gain
                    stale |= problem.neighbours[group]
    return MatchingResult(current, history[-1], len(history) - 1, tuple(history))


def assign(gains: NDArray[np.floating], near: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The permutation with the largest Σ_i gains[i, permutation[i]].

    Rows and columns of zeros, of channels that died, are left out: they take what is left over.

    Args:
        gains: (n, n).
        near: int64 (n,), a permutation that may be the best one. Where a few quick rounds prove that, it is returned;
            near convergence that saves the assignment.

    Returns:
        int64 (n,).
    """
    if near is not None and _is_best(gains, near):
        return near
    rows, columns = (np.flatnonzero(gains.any(axis=axis)) for axis in (1, 0))
    if len(rows) > len(columns):
        return np.argsort(_without_dead(gains.T, columns, rows))
    return _without_dead(gains, rows, columns)


def _is_best(gains: NDArray[np.floating], near: NDArray[np.int64]) -> bool:
    """Whether potentials prove that no permutation gains more; False also where they take long to find.

    They are distances in the graph of exchanges, from Bellman-Ford. It ends where no cycle of exchanges gains.
    """
    places = np.argsort(near)  # row j of `worse` is the row matched with column j
    worse = (gains[np.arange(len(near)), near][:, None] - gains)[places]
    potentials, changing = np.zeros(len(near), dtype=gains.dtype), len(near)
    while changing:
        shorter = np.minimum(potentials, (worse + potentials[:, None]).min(axis=0))
        before, changing = changing, int((shorter < potentials).sum())
        if changing > FALLING * before:
            return False
        potentials = shorter
    return True


def _without_dead(
    gains: NDArray[np.floating], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The best assignment where only these rows and columns, no fewer, hold anything but zeros."""
    size = len(gains)
    if len(rows) == size:
        return np.asarray(linear_sum_assignment(gains, maximize=True)[1], dtype=np.int64)
    dead = np.setdiff1d(np.arange(size), columns)[: len(rows)]  # a row may be better off with nothing
    offered = np.concatenate([columns, dead])
    found = np.full(size, -1)
    picked = linear_sum_assignment(gains[np.ix_(rows, offered)], maximize=True)[1] if len(rows) else []
    found[rows] = offered[np.asarray(picked, dtype=np.int64)]
    found[found < 0] = np.setdiff1d(np.arange(size), found[rows])
    return found
