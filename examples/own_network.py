"""A network of one's own: a module that says what is searched of it.

    python -m tuner.run --model examples/own_network.py:Filter --pipeline sharpen --data photos

Its constructor gets the task, and what was chosen of its space by name.
"""

from torch import Tensor, nn

from trainables.hyperparameters import Parameter
from trainables.tasks import Task


class Filter(nn.Module):
    """Two convolutions. What an output pixel depends on is `size` × `size` pixels around it."""

    space = {  # noqa: RUF012 - this is how a space is declared
        "learning_rate": Parameter(1e-3, 1e-2, log=True),
        "width": Parameter(8, 32, log=True),
        "size": Parameter(choices=(3, 5)),
    }

    def __init__(self, task: Task, width: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, size, padding="same", padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, task.output_shape[0], 1),
        )

    @classmethod
    def misfit(cls, task: Task) -> str:
        """Say why it can't do a task: it keeps the size of the image."""
        if task.output_shape[1:] == task.input_shape[1:]:
            return ""
        return "Filter makes images of the size that it is given; take another network"

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs (N, c, H, W) for images (N, 3, H, W) in [0, 1]."""
        return self.layers(images)
