import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.timing import worker
from analysis.timing.protocol import INVALID, INVALID_IQR, VALID, judge, relative_iqr
from analysis.timing.stopwatch import HostStopwatch
from analysis.timing.subjects import Subject
from analysis.timing.worker import Timed
from tests.analysis.timing import own_subjects
from tests.trainables.made_up import photographs
from trainables.pipelines.calling import make_targets
from trainables.pipelines.study import reference
from trainables.tasks import STUDY

OWN = "tests.analysis.timing.own_subjects"
IDLE = {"cores": 2, "threads": 1, "other_load": 0.0}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return photographs(50).images


@pytest.fixture(scope="module")
def targets(images: Tensor) -> Tensor:
    return make_targets(reference, images)


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
    checked = Timed(own("right"), images, targets, {}).check()
    assert (checked.max_difference, checked.share_95, checked.share_99) == (0.0, 1.0, 1.0)
    assert checked.differs == ""
    assert checked.card is None
    assert (checked.memory_format, checked.gpu_model, checked.driver) == ("contiguous", None, None)


def test_shares_count_the_images_that_come_out_right(images: Tensor, targets: Tensor) -> None:
    odd = int((images[:, 0, 0, 0] % 2 == 1).sum())
    assert 0 < odd < len(images)
    checked = Timed(own("half_right"), images, targets, {}).check()
    assert checked.share_95 == checked.share_99 == (len(images) - odd) / len(images)
    assert checked.max_difference > 0.5
    assert checked.differs == "", "being wrong is a person's own function's nature"


def test_the_shares_go_over_all_images_and_the_difference_over_the_first_thousand(
    images: Tensor,
) -> None:
    many = images.repeat(25, 1, 1, 1)[:1200].clone()
    many[:, 0, 0, 0] = 0
    many[1000:, 0, 0, 0] = 1  # these come out wrong
    checked = Timed(own("half_right"), many, make_targets(reference, many), {}).check()
    assert checked.max_difference == pytest.approx(0.0, abs=1e-6)
    assert checked.share_99 == 1000 / 1200


def test_a_flat_image_is_never_like_the_pipeline(images: Tensor, targets: Tensor) -> None:
    checked = Timed(own("grey"), images, targets, {}).check()
    assert checked.share_99 < checked.share_95 < 1.0
    assert checked.max_difference == pytest.approx(float((targets - 0.5).abs().max()))


def test_an_output_that_is_not_a_number_is_said(images: Tensor, targets: Tensor) -> None:
    checked = Timed(own("not_a_number"), images, targets, {}).check()
    assert checked.differs == "some outputs are not a number"
    assert checked.share_95 == 49 / 50
    assert judge([[1.0, 1.0], [1.0, 1.0]], **IDLE, fault=checked.differs) == (
        INVALID,
        checked.differs,
    )


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
        Timed(own(function), images, targets, {}).check()


def test_an_untrained_network_has_a_card_and_no_quality(images: Tensor, targets: Tensor) -> None:
    checked = Timed(network(), images, targets, {}).check()
    assert checked.card is not None
    assert checked.card.parameters == 1795
    assert (checked.share_95, checked.share_99) == (None, None)
    assert checked.max_difference <= 1e-6  # of itself, not of the pipeline
    assert checked.differs == ""


@pytest.mark.parametrize("kind", ["trial", "untrained"])
def test_a_variant_that_differs_from_its_own_network_is_another_computation(
    kind: str, images: Tensor, targets: Tensor
) -> None:
    timed = Timed(network(kind=kind), images, targets, {})
    network_itself = timed.runner.network
    assert network_itself is not None
    with torch.no_grad():
        network_itself.rows[3] += 0.5  # as a backend that computes something else would
    checked = timed.check()
    assert checked.differs.startswith("it differs from its own eager float32 output by ")
    assert checked.max_difference > 1e-3
    verdict = judge([[1.0, 1.0]], **IDLE, fault=checked.differs)
    assert verdict == (INVALID, checked.differs)


def test_rounding_to_bfloat16_is_no_other_computation_and_in_float32_it_would_be(
    images: Tensor, targets: Tensor
) -> None:
    checked = Timed(network(precision="bfloat16", model="cnn"), images, targets, {}).check()
    assert 0 < checked.max_difference < 0.05
    assert checked.differs == ""
    assert checked.memory_format == "channels_last"
    float32 = Timed(network(), images, targets, {})
    assert float32._differs(2e-3)
    assert not float32._differs(5e-4)


def test_how_far_variants_may_differ_follows_the_range_of_the_task(
    images: Tensor, targets: Tensor
) -> None:
    of_bytes = replace(network(), task=replace(STUDY, high=255.0))
    timed = Timed(of_bytes, images, targets * 255, {})
    assert not timed._differs(0.2)
    assert timed._differs(0.3)


def test_a_plan_takes_whole_batches_only(images: Tensor, targets: Tensor) -> None:
    plan = Timed(own("right"), images, targets, {}).warm_up(20, 10.0)
    assert plan.images == 40
    assert plan.repeats >= 1
    assert plan.warm_up_passes >= 3
    assert plan.first_call_sec > 0
    assert plan.batch_sec > 0


def test_a_plan_takes_as_many_batches_as_fit_into_the_time(images: Tensor, targets: Tensor) -> None:
    plan = Timed(own("slow"), images, targets, {}).warm_up(10, 0.25)
    assert plan.images == int(0.25 / plan.batch_sec) * 10
    assert plan.images < 50


def test_a_batch_that_takes_longer_than_a_pass_may_is_planned_without_images(
    images: Tensor, targets: Tensor
) -> None:
    plan = Timed(own("slow"), images, targets, {}).warm_up(10, 0.09)
    assert (plan.images, plan.repeats, plan.warm_up_passes) == (0, 0, 0)


@pytest.mark.parametrize(("batch", "measured"), [(1, 50), (20, 40), (50, 50)])
def test_a_pass_computes_every_image_of_its_whole_batches_and_no_other(
    batch: int, measured: int, images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {})
    assert timed.warm_up(batch, 10.0).images == measured
    timed.results.fill_(-1.0)
    one = timed.measure(batch)
    torch.testing.assert_close(timed.results[:measured], targets[:measured], rtol=0, atol=1e-6)
    assert (timed.results[measured:] == -1.0).all()
    assert one.device_sec > 0
    assert one.end_to_end_sec > 0
    assert one.turn_sec >= one.device_sec + one.end_to_end_sec
    assert not one.device_gaps
    assert one.peak_mib > 10
    assert (one.gpu_clock_mhz, one.gpu_processes) == (None, 0)


def test_batch_sizes_of_one_subject_do_not_disturb_each_other(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {})
    plans = {size: timed.warm_up(size, 10.0) for size in (20, 50)}
    assert {size: plan.images for size, plan in plans.items()} == {20: 40, 50: 50}
    for size in (50, 20):
        timed.results.fill_(-1.0)
        timed.measure(size)
        assert int((timed.results[:, 0, 0, 0] != -1.0).sum()) == plans[size].images


class Spy(HostStopwatch):
    """Which images each timed pass was given, and how often it was repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[object, int, int]] = []

    def seconds(self, run: object, batches: list[object], repeats: int = 1) -> float:  # type: ignore[override]
        self.passes.append((run, len(batches), repeats))
        return super().seconds(run, batches, repeats)  # type: ignore[type-var,arg-type]


def test_both_times_of_a_pass_go_over_the_same_images_as_often(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(pipeline("factors"), images, targets, {})
    plan = timed.warm_up(10, 10.0)
    spy = timed.host = timed.device_stopwatch = Spy()
    timed.measure(10)
    assert spy.passes == [(timed.runner.run, 5, plan.repeats), (timed._end_to_end, 5, plan.repeats)]


def test_what_is_timed_alone_gets_what_the_subject_itself_wants(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(pipeline("factors"), images, targets, {})
    prepared, whole = timed._lay_out(20, 40)
    assert [batch.dtype for batch in prepared] == [torch.float32, torch.float32]
    assert [(start, len(batch), batch.dtype) for start, batch in whole] == [
        (0, 20, torch.uint8),
        (20, 20, torch.uint8),
    ]


@pytest.mark.parametrize("engine", ["Pillow", "OpenCV"])
def test_a_peer_gets_its_images_as_rows_of_pixels(
    engine: str, images: Tensor, targets: Tensor
) -> None:
    timed = Timed(pipeline(engine, single=True), images[:5], targets[:5], {})
    checked = timed.check()
    assert checked.share_95 == 1.0
    timed.warm_up(1, 10.0)
    _, (_, whole) = timed._series[1]
    assert [type(held) for _, held in whole] == [np.ndarray] * 5
    assert {held.shape for _, held in whole} == {(32, 32, 3)}
    timed.results.fill_(-1.0)
    timed.measure(1)
    assert (timed.results > -1.0).all()


def test_a_noisy_subject_ends_as_invalid_and_a_steady_one_with_its_times_does_not(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("alternating"), images[:1], targets[:1], {})
    plan = timed.warm_up(1, 10.0)
    assert plan.warm_up_passes == 10
    assert not plan.settled
    own_subjects.restart()
    device, end_to_end = [], []
    for _ in range(8):
        one = timed.measure(1)
        device.append(one.device_sec)
        end_to_end.append(one.end_to_end_sec)
    assert relative_iqr(end_to_end) > INVALID_IQR
    verdict, reason = judge([device, end_to_end], **IDLE)
    assert verdict == INVALID
    assert "spreads over more than 25%" in reason
    assert judge([[statistics.median(device)] * 8], **IDLE) == (VALID, "")


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
    assert worker.prepare(own("right"), path).share_99 == 1.0
    assert worker.call("warm_up", 25, 10.0).images == 50
    assert worker.call("measure", 25).end_to_end_sec > 0


def test_what_is_another_computation_at_another_batch_size_is_refused(
    images: Tensor, targets: Tensor
) -> None:
    timed = Timed(own("right"), images, targets, {})
    timed.check()
    timed.warm_up(20, 10.0)
    timed.runner = replace(timed.runner, run=lambda batch: reference(batch).flip(-1))
    with pytest.raises(ValueError, match="its output at batch 50 differs from that at 500 by"):
        timed.warm_up(50, 10.0)


def test_a_wrong_shape_at_one_batch_size_alone_is_refused(images: Tensor, targets: Tensor) -> None:
    timed = Timed(own("right"), images, targets, {})
    timed.check()
    run = timed.runner.run
    timed.runner = replace(timed.runner, run=lambda batch: run(batch).squeeze(0))
    with pytest.raises(ValueError, match=r"makes \(1, 28, 28\) torch.float32 of 1 images"):
        timed.warm_up(1, 10.0)
    assert timed.warm_up(20, 10.0).images == 40
