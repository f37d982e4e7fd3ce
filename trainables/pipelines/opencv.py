"""The gallery's pipelines that only OpenCV does fast. Arrays are (H, W, 3) of bytes, in and out."""

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]
CLIP_LIMIT = 2.0
TILES = (4, 4)  # of the usual 8 × 8, each would have 16 pixels of an image of 32 × 32


def median(image: Array) -> Array:
    """Return of each channel the median of 5 × 5 pixels."""
    return cv2.medianBlur(image, 5)


def bilateral(image: Array) -> Array:
    """Average those of 5 × 5 pixels that are near in place and in colour."""
    return cv2.bilateralFilter(image, d=5, sigmaColor=50, sigmaSpace=2)


def clahe(image: Array) -> Array:
    """Equalize the lightness of L*a*b* tile by tile, with a limit to the contrast."""
    lightness, *colours = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    equalized = cv2.createCLAHE(CLIP_LIMIT, TILES).apply(lightness)
    return cv2.cvtColor(cv2.merge([equalized, *colours]), cv2.COLOR_LAB2RGB)
