"""The gallery's pipelines that filter: a pixel is made of those around it."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.filters import sobel as sobel_magnitude
from skimage.filters import unsharp_mask
from torchvision.transforms.v2 import functional

blur = partial(functional.gaussian_blur, kernel_size=[5, 5], sigma=[1.0, 1.0])
sharpen = partial(functional.adjust_sharpness, sharpness_factor=3)


def unsharp(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Add to an array (H, W, 3) what a blur takes from it, clipped to [0, 1]."""
    # Not -1, for which scikit-image 0.26 takes the first rows for the channels
    return unsharp_mask(image, radius=2, amount=1, channel_axis=2)


def sobel(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how steep the grey of an array (H, W, 3) is, (H, W): at most 1."""
    return sobel_magnitude(rgb2gray(image))
