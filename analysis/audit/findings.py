"""What each scheduler would have made of trials that were trained in full, in many orders."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.audit.curve import Curve
from analysis.audit.replay import replay
from analysis.audit.rules import Median, Oracle, PromotingAsha, Rule, StoppingAsha

ORDERS = 200
SEED = 0
GRACES, FACTORS = (1, 2, 4), (2, 3, 4)
MOST_REGRET = 0.02  # of a scheduler that is recommended, in the mean over the orders
STOPPING, PROMOTING, MEDIAN, ORACLE, NONE = "asha", "asha, promoting", "median", "oracle", "none"
CAN_BE_ASKED_FOR = (STOPPING, MEDIAN, NONE)
"""Kinds that `--scheduler` of a search takes."""


@dataclass(frozen=True)
class Scheduler:
    """A scheduler with its settings.

    Attributes:
        kind: One of the five.
        grace: Epochs before it may stop a trial; None where it has no such setting.
        factor: Of ASHA: one trial in this many goes on at each rung.
    """

    kind: str
    grace: int | None = None
    factor: int | None = None

    def __str__(self) -> str:
        grace = "" if self.grace is None else f", grace {self.grace}"
        return f"{self.kind}{grace}" + ("" if self.factor is None else f", factor {self.factor}")

    @property
    def short(self) -> str:
        """Its settings as a chart writes them beside a mark: grace, then factor."""
        return ", ".join(str(one) for one in (self.grace, self.factor) if one is not None)

    @property
    def flags(self) -> str:
        """What to type to search with it."""
        flags = [f"--scheduler {self.kind}"]
        flags += [] if self.grace is None else [f"--grace-epochs {self.grace}"]
        flags += [] if self.factor is None else [f"--reduction-factor {self.factor}"]
        return " ".join(flags)

    def rule(self, curves: Sequence[Curve]) -> Rule:
        """Return it before the first report."""
        if self.kind == NONE:
            return Rule()
        if self.kind == ORACLE:
            return Oracle(curves)
        grace = self.grace or 1
        if self.kind == MEDIAN:
            return Median(curves, grace)
        asha = StoppingAsha if self.kind == STOPPING else PromotingAsha
        return asha(max(len(curve.reached) for curve in curves), grace, self.factor or 2)


def grid(max_epochs: int) -> list[Scheduler]:
    """Return the schedulers to compare: those whose grace leaves them something to stop."""
    graces = [grace for grace in GRACES if grace < max_epochs]
    ashas = [
        Scheduler(kind, grace, factor)
        for kind in (STOPPING, PROMOTING)
        for grace in graces
        for factor in FACTORS
    ]
    return [
        Scheduler(NONE),
        *ashas,
        *(Scheduler(MEDIAN, grace) for grace in graces),
        Scheduler(ORACLE),
    ]


@dataclass(frozen=True)
class Finding:
    """What a scheduler would have done in all orders.

    Attributes:
        epochs: Trained, as a fraction of those of training in full; mean over the orders.
        regret: By how much what the best trial that was found had reached is worse than what the
            best had reached in the end, as a fraction of that; mean over the orders.
        worst_regret: The highest of any order.
        lost: Orders in which something worse than the best trial was found.
        orders: How many there were.
    """

    epochs: float
    regret: float
    worst_regret: float
    lost: int
    orders: int


def audit(
    curves: Sequence[Curve],
    scheduler: Scheduler,
    at_once: int,
    trials: int | None = None,
    orders: int = ORDERS,
) -> Finding:
    """Replay curves under a scheduler, each time in another order.

    Args:
        curves: Of trials that were trained in full; one of them at least reached something.
        scheduler: What stops them.
        at_once: Trials beside each other.
        trials: How many are in each order, drawn from all of them; None for all.
        orders: How many orders, which are the same for every scheduler.
    """
    luck = np.random.default_rng(SEED)
    epochs, regrets = [], []
    for _ in range(orders):
        order = luck.permutation(len(curves))[:trials].tolist()
        in_full = sum(len(curves[trial].reached) for trial in order)
        best = min(curves[trial].end for trial in order)
        spent, found = 0, math.inf
        for report in replay(curves, iter(order), scheduler.rule(curves), at_once):
            spent += 1
            value = curves[report.trial].best[report.epoch - 1]
            if value < found:  # which NaN is not
                found = value
        epochs.append(spent / in_full)
        regrets.append((found - best) / (abs(best) or 1.0) if found > best else 0.0)
    lost = sum(regret > 0 for regret in regrets)
    return Finding(float(np.mean(epochs)), float(np.mean(regrets)), max(regrets), lost, orders)


def rank_correlation(curves: Sequence[Curve], epoch: int) -> float:
    """Return Spearman's correlation between what trials have reached after an epoch and in the end.

    Trials that diverged before it, or at all, are left out.
    """
    pairs = [
        (curve.best[epoch - 1], curve.end)
        for curve in curves
        if len(curve.reached) >= epoch and not math.isnan(curve.reached[-1])
    ]
    early, late = pd.DataFrame(pairs, columns=["early", "late"]).rank().to_numpy().T
    return float(np.corrcoef(early, late)[0, 1]) if early.std() and late.std() else math.nan


def mean_of(findings: Sequence[Finding]) -> Finding:
    """Return the means of several findings, each of which counts the same."""
    return Finding(
        epochs=sum(one.epochs for one in findings) / len(findings),
        regret=sum(one.regret for one in findings) / len(findings),
        worst_regret=max(one.worst_regret for one in findings),
        lost=sum(one.lost for one in findings),
        orders=sum(one.orders for one in findings),
    )
