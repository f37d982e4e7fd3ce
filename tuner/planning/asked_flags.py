"""What a search was asked for, as flags: to search with another network in the same way."""

from trainables.networks.registry import AUTO, NETWORKS
from trainables.settings_fields import as_flags
from tuner.planning.amount import budget, completed, least_samples
from tuner.planning.plan import Plan
from tuner.settings import LOSS, SEARCHED, SETTINGS, SearchConfig

OF_A_SEARCH = {"model", "data", "pairs", "start"}  # settings that say which network, which images


def asked_flags(plan: Plan, model: str) -> list[str]:
    """Return what the search was asked for beside network, images and hyperparameters, as flags.

    What is as it would be without a flag is left out, and fewer trials than `--model auto` takes.

    Args:
        plan: Of the search.
        model: What is to be searched in the same way, as `--model` takes it.
    """
    config = plan.config
    gpus = sum(node.gpus for node in plan.nodes)
    # Other settings follow from these
    first = {name: getattr(config, name) for name in ("loss", "scheduler", "max_epochs")}
    unasked = completed(
        SearchConfig(**first),
        plan.networks,
        gpus=gpus,
        data=config.data,
        train_images=plan.available_images,
    ).flat()
    unasked |= {name: SETTINGS[name].default for name in first}
    unasked["max_epochs"] = budget(plan.networks, gpus).max_epochs
    too_few = model == AUTO and (config.samples or 0) < least_samples(NETWORKS, config)
    left_out = {*OF_A_SEARCH, "samples"} if too_few else OF_A_SEARCH
    asked = {
        name: value
        for name, value in config.flat().items()
        if SETTINGS[name].group in (SEARCHED, LOSS) and value != unasked[name]
    }
    return as_flags(SETTINGS, {k: value for k, value in asked.items() if k not in left_out})
