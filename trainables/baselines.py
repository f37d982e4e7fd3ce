"""The floors and the ceiling beside every accuracy: what networks should and can reach."""

from torch import Tensor

from trainables.linear import factors
from trainables.networks.base import EndToEnd
from trainables.networks.separable import Separable
from trainables.pipelines.calling import Pipeline
from trainables.pipelines.study import reference, without_flips
from trainables.task import STUDY


def floors(train_targets: Tensor) -> dict[str, Pipeline]:
    """Return a flat image, the mean training image, and the pipeline without its flips, by name.

    The flat image has the mean grey of the training targets; its cosine is the same for any grey.
    """
    mean_image = train_targets.mean(dim=0, keepdim=True)
    flat_image = mean_image.mean().expand_as(mean_image)
    return {
        "flat image": lambda images: flat_image.expand(len(images), -1, -1, -1),
        "mean image": lambda images: mean_image.expand(len(images), -1, -1, -1),
        "pipeline without flips": without_flips,
    }


def ceiling() -> dict[str, Pipeline]:
    """Return the pipeline's own matrix as factors: what is lost is float32 rounding alone."""
    network = EndToEnd(Separable.from_factors(factors(reference), STUDY))
    return {"pipeline's own matrix": network.eval().requires_grad_(False)}
