"""The audit of runs trained in full: its numbers, its sentence, its figures, what it refuses."""

import math
import re
from pathlib import Path

import pytest

from analysis.audit.__main__ import main, recommendation
from analysis.audit.findings import (
    Finding,
    Scheduler,
    audit,
    grid,
    rank_correlation,
)
from analysis.audit.full_runs import recorded
from tests.analysis.audit.made_curves import curve, lucky_curves, make_full_run
from tests.analysis.made_runs import change, make_run
from trainables.errors import UsageError

NONE = Scheduler("none")
# The best in the end is the worst after its first epoch
LATE = [curve(9.0, 1.0), *(curve(float(loss), float(loss)) for loss in range(2, 9))]


def test_training_in_full_spends_all_and_loses_nothing() -> None:
    assert audit(lucky_curves(0), NONE, at_once=2) == Finding(1.0, 0.0, 0.0, 0, 200)


def test_asha_loses_a_trial_that_is_worst_at_first_unless_it_comes_first() -> None:
    found = audit(LATE, Scheduler("asha", 1, 2), at_once=1, orders=400)
    assert found.lost / found.orders == pytest.approx(7 / 8, abs=0.05)
    assert found.worst_regret == pytest.approx(1.0)  # 2 in place of 1
    assert found.regret == pytest.approx(found.lost / found.orders)
    assert 0.5 < found.epochs < 0.8


def test_a_grace_until_it_is_best_keeps_it() -> None:
    late = [curve(*one.reached, one.reached[-1]) for one in LATE]
    assert audit(late, Scheduler("asha", 2, 2), at_once=2).lost == 0


def test_the_oracle_never_loses_the_best_and_spends_less_than_any() -> None:
    curves = lucky_curves(2)
    findings = {one: audit(curves, one, at_once=2, orders=20) for one in grid(12)}
    oracle = findings.pop(Scheduler("oracle"))
    assert oracle.lost == 0
    assert oracle.epochs < min(one.epochs for one in findings.values() if one.regret == 0)


def test_an_audit_is_the_same_each_time() -> None:
    asha = Scheduler("asha", 1, 3)
    assert audit(lucky_curves(3), asha, 2) == audit(lucky_curves(3), asha, 2)


def test_trials_at_once_meet_others_at_their_rungs() -> None:
    curves, asha = lucky_curves(4), Scheduler("asha", 1, 2)
    assert audit(curves, asha, at_once=8) != audit(curves, asha, at_once=1)


def test_fewer_trials_are_other_ones_in_each_order() -> None:
    """A search that lacks the best trial has lost nothing by that."""
    asha = Scheduler("asha", 1, 2)
    pair = audit(LATE, asha, at_once=1, trials=2, orders=400)
    # Lost where trial 0 comes second of two, the first of which is any other
    assert pair.lost / pair.orders == pytest.approx(1 / 8, abs=0.04)
    assert audit(LATE, NONE, at_once=1, trials=3).regret == 0.0


def test_a_grace_as_long_as_a_trial_is_not_compared() -> None:
    assert {one.grace for one in grid(12)} == {None, 1, 2, 4}
    assert {one.grace for one in grid(3)} == {None, 1, 2}


def test_the_rank_correlation_is_spearmans() -> None:
    curves = [curve(1.0, 0.4), curve(2.0, 0.3), curve(3.0, 0.9), curve(4.0, 1.0), curve(math.nan)]
    assert rank_correlation(curves, 1) == pytest.approx(0.8)  # 1 - 6 · 2 / (4 · 15)
    assert rank_correlation(curves, 2) == pytest.approx(1.0)


def test_what_loses_little_for_the_fewest_epochs_is_recommended() -> None:
    findings = {
        NONE: Finding(1.0, 0.0, 0.0, 0, 200),
        Scheduler("asha", 1, 3): Finding(0.29, 0.068, 0.28, 176, 200),
        Scheduler("asha, promoting", 2, 3): Finding(0.2, 0.0, 0.0, 0, 200),  # can't be typed
        Scheduler("asha", 2, 3): Finding(0.31, 0.004, 0.1, 3, 200),
        Scheduler("median", 1): Finding(0.6, 0.001, 0.1, 1, 200),
        Scheduler("oracle"): Finding(0.1, 0.0, 0.0, 0, 200),
    }
    assert recommendation("fc on study", findings) == (
        "For fc on study: --scheduler asha --grace-epochs 2 --reduction-factor 3 takes 31 % of the "
        "epochs, regret 0.4 %, the best trial lost in 3 of 200."
    )


def test_a_run_is_audited_with_a_table_a_sentence_and_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_full_run(tmp_path)
    assert main(["full", "--storage", str(tmp_path), "--at-once", "4", "--trials", "8"]) == 0
    printed = capsys.readouterr().out
    assert "full: fc on study, 10 trials of up to 6 epochs" in printed
    assert re.search(r"none +100 % +0.0 % +0.0 % +0$", printed, re.MULTILINE)
    assert "asha, grace 1, factor 3" in printed
    assert "Rank correlation with the end: 1.00 after epoch 1" in printed
    assert "For fc on study: --scheduler" in printed
    assert (tmp_path / "audits" / "full-fc.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "audits" / "full-fc.svg").read_text()


def test_several_runs_are_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_full_run(tmp_path, "a")
    make_full_run(tmp_path, "b")
    assert main(["a", "b", "a", "--storage", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("fc on study, 10 trials") == 2
    assert "All 2" in printed
    assert "For all 2: --scheduler" in printed


def test_a_curve_is_the_best_so_far_and_nan_where_the_trial_diverged(tmp_path: Path) -> None:
    make_full_run(tmp_path, trials=9, epochs=3)
    change(tmp_path, "epochs", "full", validation_loss=[0.5, 0.7, 0.4] * 8 + [0.5, 0.6, math.inf])
    endings = ["max_epochs", "early_stopping"] * 4 + ["diverged"]
    change(tmp_path, "trials", "full", stop_reason=endings)
    (found,) = recorded(str(tmp_path), tmp_path / "tables", "full")
    assert [one.best for one in found.curves[:8]] == [[0.5, 0.5, 0.4]] * 8
    assert found.curves[8].best[:2] == [0.5, 0.5]
    assert math.isnan(found.curves[8].best[2])
    assert found.curves[0].epoch_sec == [1.1] * 3
    assert (found.model, found.pipeline, found.max_epochs) == ("fc", "study", 3)


def test_each_network_of_a_run_is_audited_for_itself(tmp_path: Path) -> None:
    make_full_run(tmp_path, trials=16)
    change(tmp_path, "trials", "full", model=["fc", "kron"] * 8)
    assert [
        (one.model, len(one.curves)) for one in recorded(str(tmp_path), tmp_path / "tables", "full")
    ] == [
        ("fc", 8),
        ("kron", 8),
    ]


@pytest.mark.parametrize(
    ("rule", "best"), [("loss", 0.2), ("cosine", -0.9 - 1e-7 * 0.99), ("psnr", -30.0)]
)
def test_a_curve_is_of_what_the_run_ranks_by(tmp_path: Path, rule: str, best: float) -> None:
    make_full_run(tmp_path, trials=8, epochs=2)
    change(tmp_path, "runs", "full", rank_by=rule, higher_is_better=True)
    change(
        tmp_path,
        "epochs",
        "full",
        validation_loss=[0.3, 0.2] * 8,
        validation_accuracy=[0.9, 0.8] * 8,
        validation_score=[30.0, 20.0] * 8,
    )
    (found,) = recorded(str(tmp_path), tmp_path / "tables", "full")
    assert found.curves[0].end == pytest.approx(best)


def test_a_run_with_stopped_trials_is_refused_with_what_to_type(tmp_path: Path) -> None:
    make_run(tmp_path, "r", trials=24, tested=False)
    with pytest.raises(UsageError) as refused:
        recorded(str(tmp_path), tmp_path / "tables", "r")
    assert str(refused.value) == (
        "12 of the 24 trials of r did not come to their end (trial 1: asha), and an audit needs "
        "runs trained in full: make one with: python -m tuner.run --scheduler none"
    )


def test_a_run_that_still_trains_is_refused(tmp_path: Path) -> None:
    make_full_run(tmp_path)
    change(tmp_path, "trials", "full", stop_reason=["max_epochs"] * 9 + [None])
    change(tmp_path, "runs", "full", status="running")
    with pytest.raises(UsageError, match=r"1 of the 10 trials of full .*\(trial 9: running\)"):
        recorded(str(tmp_path), tmp_path / "tables", "full")


def test_too_few_trials_are_refused_and_failed_ones_do_not_count(tmp_path: Path) -> None:
    make_full_run(tmp_path, trials=9)
    change(tmp_path, "trials", "full", stop_reason=["max_epochs"] * 8 + ["error"])
    (found,) = recorded(str(tmp_path), tmp_path / "tables", "full")
    assert len(found.curves) == 8
    change(tmp_path, "trials", "full", stop_reason=["max_epochs"] * 7 + ["error", "diverged"])
    with pytest.raises(UsageError) as refused:
        recorded(str(tmp_path), tmp_path / "tables", "full")
    assert str(refused.value) == (
        "full has 7 trials of fc that came to their end, and an audit needs at least 8: make one "
        "with: python -m tuner.run --scheduler none --samples 32"
    )


def test_repeats_with_other_seeds_are_no_trials_of_the_search(tmp_path: Path) -> None:
    make_full_run(tmp_path, trials=9)
    change(tmp_path, "trials", "full", repeat_of=[None] * 8 + [0])
    (found,) = recorded(str(tmp_path), tmp_path / "tables", "full")
    assert len(found.curves) == 8


@pytest.mark.parametrize("name", ["other", "..", ""])
def test_a_run_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    make_full_run(tmp_path)
    with pytest.raises(UsageError, match="give one of full, or give another --storage"):
        recorded(str(tmp_path), tmp_path / "tables", name)


def test_mistakes_end_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_full_run(tmp_path)
    assert main(["full", "--storage", str(tmp_path), "--at-once", "0"]) == 2
    assert "--at-once ≥ 1 must hold, but got 0" in capsys.readouterr().err
    assert main(["full", "--storage", str(tmp_path), "--trials", "11"]) == 2
    assert capsys.readouterr().err == (
        "error: --trials 11: full has 10 trials of fc that were trained in full; give 2 to 10\n"
    )


def test_figures_that_can_not_be_written_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_full_run(tmp_path)
    (tmp_path / "file").touch()
    assert main(["full", "--storage", str(tmp_path), "--out", str(tmp_path / "file")]) == 1
    assert "give another --out" in capsys.readouterr().err
