"""What a person does not say of images, trials and epochs is filled in."""

from dataclasses import replace
from pathlib import Path

from tests.tuner.planning.plans import facts_of, planned
from trainables.losses.loss_settings import Perceptual
from trainables.networks.cnn import CNN
from trainables.networks.fc import FC
from tuner.planning.amount import EACH_ON_CPU, EACH_ON_GPU, completed
from tuner.settings import SearchConfig


def test_completion_takes_the_networks_own_budget_by_whether_there_are_gpus() -> None:
    def complete(gpus: float) -> SearchConfig:
        return completed(
            SearchConfig(model="cnn"), facts_of(CNN), gpus=gpus, data="photos", train_images=30_000
        )

    cpu, gpu = complete(0), complete(2)
    assert (cpu.images, cpu.samples, cpu.max_epochs) == (2048, 6, 6)
    assert (gpu.images, gpu.samples, gpu.max_epochs) == (30_000, 32, 30)
    assert (cpu.data, cpu.batch_size, cpu.concurrency) == ("photos", 256, None)


def test_completion_keeps_what_was_asked() -> None:
    asked = {"images": 7, "samples": 8, "max_epochs": 9, "batch_size": 10, "concurrency": 2}
    complete = completed(SearchConfig(**asked), facts_of(FC), gpus=1, data="d", train_images=100)
    assert {name: getattr(complete, name) for name in asked} == asked


def test_completion_never_asks_for_more_images_than_there_are_nor_fewer_epochs_than_grace() -> None:
    complete = completed(
        SearchConfig(model="cnn", grace_epochs=50),
        facts_of(CNN),
        gpus=0,
        data="d",
        train_images=100,
    )
    assert (complete.images, complete.max_epochs) == (100, 50)


def test_a_completed_search_has_the_defaults_of_its_loss_and_mse_alone_has_none() -> None:
    more = {"gpus": 0.0, "data": "photos", "train_images": 2000}
    config = completed(SearchConfig(loss="perceptual", perceptual_size=64), facts_of(FC), **more)
    assert config.perceptual == replace(Perceptual(), size=64)
    assert (config.perceptual_layers, config.perceptual_size, config.vgg_weights) == (
        (2, 7, 14, 21, 28),
        64,
        "IMAGENET1K_V1",
    )
    assert completed(SearchConfig(), facts_of(FC), **more).vgg_weights is None


def test_without_a_budget_each_network_of_auto_gets_a_few_short_trials(
    few: str, tmp_path: Path
) -> None:
    plan = planned(few, tmp_path, model="auto")
    complete = plan.config
    assert complete.samples == len(plan.networks) * EACH_ON_CPU["samples"]
    assert (complete.max_epochs, complete.images) == (EACH_ON_CPU["max_epochs"], 216)
    assert {name: one["batch_size"] for name, one in plan.training.items()} == {
        name: facts.habits.batch_size for name, facts in plan.networks.items()
    }
    more = {"gpus": 0.0, "data": "photos", "train_images": 39_000}
    assert (
        completed(SearchConfig(model="auto"), plan.networks, **more).images == EACH_ON_CPU["images"]
    )
    on_gpu = completed(SearchConfig(model="auto"), plan.networks, **more | {"gpus": 1.0})
    assert on_gpu.samples == len(plan.networks) * EACH_ON_GPU["samples"]
    assert (on_gpu.max_epochs, on_gpu.images) == (EACH_ON_GPU["max_epochs"], 39_000)
