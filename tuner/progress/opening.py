"""The first lines of a search: what was chosen, and how to ask for more."""

from analysis.console import Console, perceptual
from analysis.tables.ranking import ranking_rule
from tuner.plan import Plan, budget

SMALL_SIZE = 64  # pixels, at which VGG16 is bearable without a GPU


def introduce(console: Console, plan: Plan) -> None:
    """Print what the search will do."""
    config, data, resources = plan.config, plan.data, plan.resources
    has_gpus = any(node.gpus for node in plan.nodes)
    if data.note:
        console.line(f"{data.note}: using the built-in photographs", style="yellow")
    console.line(
        f"{config.name}: {config.model} on {data.train.source}, {len(data.train):,} training, "
        f"{len(data.validation):,} validation and {len(data.test):,} test images"
    )
    gpus = f" and {resources.gpus:g} GPU" if resources.gpus else ""
    console.line(
        f"{config.samples} trials of up to {config.max_epochs} epochs, "
        f"{config.concurrency or plan.slots} at a time with {resources.cpus:g} CPU{gpus} each; "
        f"{config.search} search, ASHA after {config.grace_epochs} epochs, "
        f"factor {config.reduction_factor:g}"
    )
    for line in plan.gpu_memory:
        console.line(line)
    if plan.vgg is not None:
        console.line(f"perceptual loss: {perceptual(config.flat())}")
        times = ((config.perceptual_size or 0) / SMALL_SIZE) ** 2
        if times > 2 and not has_gpus:
            console.line(
                f"VGG16 takes long without a GPU: {times:.0f} × less with "
                f"--perceptual-size {SMALL_SIZE}"
            )
    if config.mixed_losses:
        rule = ranking_rule(mixed_losses=True)
        console.line(f"The loss is searched too: the best trial is the one with {rule}")
    if not has_gpus:
        full = budget(config.model, gpus=1)
        console.line(
            f"No GPU: that is a small search. The full one: --samples {full.samples} "
            f"--max-epochs {full.max_epochs} --images {full.images or plan.available_images}"
        )
