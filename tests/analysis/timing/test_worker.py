import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.timing import protocol, worker
from analysis.timing.protocol import INVALID, PROCESSES, judge
from analysis.timing.stopwatch import HostStopwatch
from analysis.timing.subjects import Subject
from analysis.timing.worker import Timed
from tests.trainables.made_up import photographs
from trainables.pipelines.calling import make_targets
from trainables.pipelines.study import reference
from trainables.tasks import STUDY

OWN = "tests.analysis.timing.own_subjects"
NOWHERE = Path("no-directory")
STEADY = [1.0] * PROCESSES
CALLS = 3  # a pass, in these tests


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Nothing works longer than it must, and the threads of these tests stay as they were."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "PASS_SEC", 1e-4)
        for name in ("STIR_SEC", "WARM_SEC"):
            patch.setattr(worker, name, 0.0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return photographs(50).images


@pytest.fixture(scope="module")
def targets(images: Tensor) -> Tensor:
    return make_targets(reference, images)


class Clock:
    """Seconds that pass only while a subject is called."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def clocked(
    images: Tensor, targets: Tensor, patch: pytest.MonkeyPatch, call_sec: float, first_sec: float
) -> tuple[Timed, list[int]]:
    """A subject by a clock of its own, and the sizes of the batches that it gets from now on."""
    clock, sizes = Clock(), list[int]()
    patch.setattr(
        worker, "time", SimpleNamespace(perf_counter=clock, process_time=time.process_time)
    )
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    timed.host = timed.device_stopwatch = HostStopwatch(clock)
    run = timed.runner.run

    def clocked_run(batch: Tensor) -> Any:
        clock.now += call_sec if sizes else first_sec
        sizes.append(len(batch))
        return run(batch)

    timed.runner = replace(timed.runner, run=clocked_run)
    return timed, sizes


def own(function: str) -> Subject:
    return Subject(name=f"{OWN}:{function}", kind="own", engine="own", device="cpu")


def pipeline(engine: str, single: bool = False) -> Subject:
    return Subject(name=engine, kind="pipeline", engine=engine, device="cpu", single=single)


def network(
    engine: str = "eager", precision: str = "float32", kind: str = "untrained", **settings: object
) -> Subject:
    named = {"name": "network", "model": "separable", **settings}
    return Subject(kind=kind, engine=engine, precision=precision, device="cpu", **named)


def test_what_a_subject_computes_is_compared_with_the_pipeline(
    images: Tensor, targets: Tensor
) -> None:
    checked = Timed(own("right"), images, targets, {}, NOWHERE).check()
    assert (checked.max_difference, checked.share_95, checked.share_99) == (0.0, 1.0, 1.0)
    assert checked.differs == ""
    assert checked.card is None
    assert (checked.memory_format, checked.gpu_model, checked.driver) == ("contiguous", None, None)


def test_shares_count_the_images_that_come_out_right(images: Tensor, targets: Tensor) -> None:
    odd = int((images[:, 0, 0, 0] % 2 == 1).sum())
    assert 0 < odd < len(images)
    checked = Timed(own("half_right"), images, targets, {}, NOWHERE).check()
    assert checked.share_95 == checked.share_99 == (len(images) - odd) / len(images)
    assert checked.max_difference > 0.5
    assert checked.differs == "", "being wrong is a person's own function's nature"


def test_the_shares_go_over_all_images_and_the_difference_over_the_first_thousand(
    images: Tensor,
) -> None:
    many = images.repeat(25, 1, 1, 1)[:1200].clone()
    many[:, 0, 0, 0] = 0
    many[1000:, 0, 0, 0] = 1  # these come out wrong
    checked = Timed(own("half_right"), many, make_targets(reference, many), {}, NOWHERE).check()
    assert checked.max_difference == pytest.approx(0.0, abs=1e-6)
    assert checked.share_99 == 1000 / 1200


def test_a_flat_image_is_never_like_the_pipeline(images: Tensor, targets: Tensor) -> None:
    checked = Timed(own("grey"), images, targets, {}, NOWHERE).check()
    assert checked.share_99 < checked.share_95 < 1.0
    assert checked.max_difference == pytest.approx(float((targets - 0.5).abs().max()))


def test_an_output_that_is_not_a_number_is_said(images: Tensor, targets: Tensor) -> None:
    checked = Timed(own("not_a_number"), images, targets, {}, NOWHERE).check()
    assert checked.differs == "some outputs are not a number"
    assert checked.share_95 == 49 / 50
    assert judge(STEADY, other_load=0, fault=checked.differs) == (INVALID, checked.differs)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("wrong_shape", r"makes \(50, 28, 28\) torch\.float32 of 50 images"),
        ("wrong_type", r"makes \(50, 1, 28, 28\) torch\.float16 of 50 images"),
        ("no_tensor", "makes list  of 50 images"),
    ],
)
def test_an_output_of_another_form_is_refused_with_the_form_it_has_to_have(
    function: str, found: str, images: Tensor, targets: Tensor
) -> None:
    wanted = r": it has to return a tensor \(50, 1, 28, 28\) of torch\.float32$"
    with pytest.raises(ValueError, match=f"^{OWN}:{function} {found}{wanted}"):
        Timed(own(function), images, targets, {}, NOWHERE).check()


def test_an_untrained_network_has_a_card_and_no_quality(images: Tensor, targets: Tensor) -> None:
    checked = Timed(network(), images, targets, {}, NOWHERE).check()
    assert checked.card is not None
    assert checked.card.parameters == 1795
    assert (checked.share_95, checked.share_99) == (None, None)
    assert checked.max_difference <= 1e-6  # of itself, not of the pipeline
    assert checked.differs == ""


@pytest.mark.parametrize("kind", ["trial", "untrained"])
def test_a_variant_that_differs_from_its_own_network_is_another_computation(
    kind: str, images: Tensor, targets: Tensor
) -> None:
    timed = Timed(network(kind=kind), images, targets, {}, NOWHERE)
    network_itself = timed.runner.network
    assert network_itself is not None
    with torch.no_grad():
        network_itself.rows[3] += 0.5  # as a backend that computes something else would
    checked = timed.check()
    assert checked.differs.startswith("it differs from its own eager float32 output by ")
    assert checked.max_difference > 1e-3
    assert judge(STEADY, other_load=0, fault=checked.differs) == (INVALID, checked.differs)


def test_rounding_to_bfloat16_is_no_other_computation_and_in_float32_it_would_be(
    images: Tensor, targets: Tensor
) -> None:
    checked = Timed(
        network(precision="bfloat16", model="cnn"), images, targets, {}, NOWHERE
    ).check()
    assert 0 < checked.max_difference < 0.05
    assert checked.differs == ""
    assert checked.memory_format == "channels_last"
    float32 = Timed(network(), images, targets, {}, NOWHERE)
    assert float32._differs(2e-3)
    assert not float32._differs(5e-4)


def test_how_far_variants_may_differ_follows_the_range_of_the_task(
    images: Tensor, targets: Tensor
) -> None:
    of_bytes = replace(network(), task=replace(STUDY, high=255.0))
    timed = Timed(of_bytes, images, targets * 255, {}, NOWHERE)
    assert not timed._differs(0.2)
    assert timed._differs(0.3)


def test_a_plan_tells_the_first_call_and_what_a_pass_is(
    images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, _ = clocked(images, targets, monkeypatch, call_sec=0.125, first_sec=2.0)
    plan = timed.plan(20)
    assert (plan.calls, plan.first_call_sec, plan.batch_sec, plan.bus_sec) == (1, 2.0, 0.125, None)


def test_a_pass_has_as_many_batches_as_its_time_takes(
    images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PASS_SEC", 1.0)
    timed, _ = clocked(images, targets, monkeypatch, call_sec=0.125, first_sec=2.0)
    assert timed.plan(20).calls == 8


def test_a_turn_times_so_many_calls_and_the_device_alone_only_when_asked(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    timed.warm_up(20)
    one = timed.turn(20, CALLS, False)
    assert one.device_sec is one.single_sec is one.overlapped_sec is None
    assert one.end_to_end_sec > 0
    assert not one.device_gaps
    both = timed.turn(20, CALLS, True)
    assert both.device_sec is not None
    assert both.device_sec > 0


def test_a_turn_takes_cores_for_all_that_it_does(images: Tensor, targets: Tensor) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    assert timed.turn(20, 200, True).cpu_sec > 0


def test_each_call_of_single_images_is_timed_alone(images: Tensor, targets: Tensor) -> None:
    one = Timed(own("right"), images, targets, {}, NOWHERE).turn(1, CALLS, False)
    assert one.single_sec is not None
    assert one.single_sec.shape == (CALLS,)
    assert (one.single_sec > 0).all()
    assert one.end_to_end_sec == pytest.approx(one.single_sec.sum())


def test_single_images_run_on_one_thread_and_batches_on_those_that_were_given(
    images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_threads", 2)
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    seen: list[tuple[int, int]] = []
    run = timed.runner.run

    def spied(batch: Tensor) -> Any:
        seen.append((len(batch), torch.get_num_threads()))
        return run(batch)

    timed.runner = replace(timed.runner, run=spied)
    for size in (20, 1, 20):
        timed.plan(size)
        timed.warm_up(size)
        timed.turn(size, CALLS, True)
    assert set(seen) == {(20, 2), (1, 1)}


def test_a_turn_begins_with_untimed_work_of_its_own(
    images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STIR_SEC", 0.25)
    timed, sizes = clocked(images, targets, monkeypatch, call_sec=0.125, first_sec=0.125)
    turn = timed.turn(20, 1, False)
    assert len(sizes) == 2 + 1
    assert turn.end_to_end_sec == 0.125


def test_a_warm_up_works_so_long_and_tells_the_circumstances(
    images: Tensor, targets: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WARM_SEC", 0.25)
    timed, sizes = clocked(images, targets, monkeypatch, call_sec=0.125, first_sec=2.0)
    found = timed.warm_up(20)
    assert len(sizes) == 1 + 2, "the first call counts for nothing"
    assert found.peak_mib > 10
    assert (found.gpu_clock_mhz, found.gpu_processes) == (None, 0)


def test_turns_go_over_the_whole_batches_of_the_images_round_and_round(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    timed.results.fill_(-1.0)
    timed.turn(20, 2, False)
    torch.testing.assert_close(timed.results[:40], targets[:40], rtol=0, atol=1e-6)
    assert (timed.results[40:] == -1.0).all(), "ten images are no batch of twenty"
    starts = [start for start, _ in timed._laid_out(20).whole(3)]
    assert sorted(set(starts)) == [0, 20]
    assert starts[0] == starts[2] != starts[1]


def test_batch_sizes_of_one_subject_do_not_disturb_each_other(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    for size, made in ((20, 40), (50, 50), (20, 40)):
        timed.results.fill_(-1.0)
        timed.turn(size, 2, False)
        assert int((timed.results[:, 0, 0, 0] != -1.0).sum()) == made


class Spy(HostStopwatch):
    """Which images each timed pass was given."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[object, int]] = []

    def seconds(self, run: object, batches: list[object]) -> float:  # type: ignore[override]
        self.passes.append((run, len(batches)))
        return super().seconds(run, batches)  # type: ignore[type-var,arg-type]


def test_both_times_of_a_turn_go_over_as_many_batches(images: Tensor, targets: Tensor) -> None:
    timed = Timed(pipeline("factors"), images, targets, {}, NOWHERE)
    spy = timed.host = timed.device_stopwatch = Spy()
    timed.turn(10, CALLS, True)
    assert spy.passes == [(timed._end_to_end, CALLS), (timed.runner.run, CALLS)]


def test_what_is_timed_alone_gets_what_the_subject_itself_wants(
    images: Tensor, targets: Tensor
) -> None:
    batches = Timed(pipeline("factors"), images, targets, {}, NOWHERE)._laid_out(20)
    assert [batch.dtype for batch in batches.prepared(2)] == [torch.float32, torch.float32]
    assert [(start, len(batch), batch.dtype) for start, batch in batches.whole(2)] == [
        (0, 20, torch.uint8),
        (20, 20, torch.uint8),
    ]


class Meter:
    """A processor that draws 10 J whenever it is asked, or says nothing."""

    def __init__(self, joules: float | None) -> None:
        self.joules = joules
        self.read = 0

    def energy_j(self) -> float | None:
        self.read += 1
        return None if self.joules is None else self.joules * self.read


@pytest.mark.parametrize(("joules", "is_told"), [(10.0, True), (None, False), (-10.0, False)])
def test_energy_is_told_of_a_pass_where_the_processor_counts_it(
    joules: float | None,
    is_told: bool,
    images: Tensor,
    targets: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker.machine, "CpuEnergy", lambda: Meter(joules))
    monkeypatch.setattr(worker, "ENERGY_SEC", 0.25)
    timed, _ = clocked(images, targets, monkeypatch, call_sec=0.125, first_sec=0.125)
    plan = timed.plan(50)
    told = (5.0, 40.0) if is_told else (None, None)  # J and W of two passes of 0.125 s
    assert (plan.energy_j, plan.power_w) == told


@pytest.mark.parametrize("engine", ["Pillow", "OpenCV"])
def test_a_peer_gets_its_images_as_rows_of_pixels(
    engine: str, images: Tensor, targets: Tensor
) -> None:
    timed = Timed(pipeline(engine, single=True), images[:5], targets[:5], {}, NOWHERE)
    checked = timed.check()
    assert checked.share_95 == 1.0
    whole = timed._laid_out(1).whole(5)
    assert [type(held) for _, held in whole] == [np.ndarray] * 5
    assert {held.shape for _, held in whole} == {(32, 32, 3)}
    timed.results.fill_(-1.0)
    timed.turn(1, 5, True)
    assert (timed.results > -1.0).all()


def test_the_process_answers_for_the_subject_that_it_prepared(
    images: Tensor,
    targets: Tensor,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("images") / "images.safetensors"
    save_file({"images": images, "targets": targets}, path)
    monkeypatch.setattr(worker, "_timed", None)
    assert worker.build_and_check(own("right"), path).share_99 == 1.0
    assert worker.call("turn", 25, CALLS, False).end_to_end_sec > 0
    worker.build(own("grey"), path)
    assert worker.call("check").share_99 < 1.0


def test_what_is_another_computation_at_another_batch_size_is_refused(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    timed.check()
    timed.plan(20)
    timed.runner = replace(timed.runner, run=lambda batch: reference(batch).flip(-1))
    with pytest.raises(ValueError, match="its output at batch 50 differs from that at 500 by"):
        timed.plan(50)


def test_a_wrong_shape_at_one_batch_size_alone_is_refused(images: Tensor, targets: Tensor) -> None:
    timed = Timed(own("right"), images, targets, {}, NOWHERE)
    timed.check()
    run = timed.runner.run
    timed.runner = replace(timed.runner, run=lambda batch: run(batch).squeeze(0))
    with pytest.raises(ValueError, match=r"makes \(1, 28, 28\) torch.float32 of 1 images"):
        timed.plan(1)
    assert timed.plan(20).calls >= 1


def test_where_memory_lies_is_drawn_anew_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(worker, "_threads", 1)
    monkeypatch.setattr(worker, "_displaced", bytearray())
    displaced = set()
    for _ in range(3):
        worker.enter(1, NOWHERE)
        displaced.add(len(worker._displaced))
    assert len(displaced) == 3
