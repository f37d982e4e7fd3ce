"""The images of a search with their targets, made once."""

from dataclasses import dataclass

from torch import Tensor

from trainables.data import image_set
from trainables.data.image_set import ImageSet
from trainables.pipelines.study import reference
from trainables.pipelines.targets import make_targets
from trainables.training.loop import Examples

LEAST_VALIDATION_IMAGES = 1000
VALIDATION_PER_TRAIN = 1 / 9  # as in the whole set: a tenth of it validates


@dataclass(frozen=True)
class Labelled:
    """An image set and what the pipeline makes of it."""

    source: ImageSet
    targets: Tensor  # (N, 1, 28, 28) float32

    def __len__(self) -> int:
        return len(self.source)

    def first(self, count: int) -> "Labelled":
        """The first `count` images. Raises ValueError when there are fewer."""
        return Labelled(self.source.first(count), self.targets[:count])

    @property
    def examples(self) -> Examples:
        """As training and evaluation take them."""
        return Examples(self.source.images, self.targets)


@dataclass(frozen=True)
class Data:
    """The three splits, and why this source was taken where the person left that open."""

    train: Labelled
    validation: Labelled
    test: Labelled
    note: str = ""

    def cut(self, train_images: int) -> "Data":
        """Only so many training images, and validation images in proportion, so that both take as long."""
        held_out = max(LEAST_VALIDATION_IMAGES, round(train_images * VALIDATION_PER_TRAIN))
        validation = self.validation.first(min(len(self.validation), held_out))
        return Data(self.train.first(train_images), validation, self.test, self.note)


def load(source: str) -> Data:
    """Load the images and run the pipeline over them. Raises ValueError where `image_set.load` does."""
    splits = image_set.load(source)

    def label(source: ImageSet) -> Labelled:
        return Labelled(source, make_targets(reference, source.images))

    return Data(label(splits.train), label(splits.validation), label(splits.test), splits.note)
