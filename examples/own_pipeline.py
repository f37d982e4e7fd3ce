"""A pipeline of one's own: any callable from one image to one image, the same each time.

    python -m tuner.run --pipeline examples/own_pipeline.py:preprocess --data photos

A function of one image does as well; it may take a PIL image, a tensor or an array.
"""

from torchvision.transforms import v2

preprocess = v2.Compose([v2.Grayscale(), v2.GaussianBlur(5, sigma=1.0)])
