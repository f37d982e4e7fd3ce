"""Pipelines as people write them, good ones and bad ones, by the names that tests give."""

import os
import random
import sys
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


class Compose:
    """As torchvision's: steps that are called in turn."""

    def __init__(self, *transforms: Any) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class Grey:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.convert("L")


class Mirror:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


class MirrorNowAndThen(Mirror):
    def __call__(self, image: Image.Image) -> Image.Image:
        return super().__call__(image) if random.random() < 0.5 else image


class Half:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.resize((image.width // 2, image.height // 2))


class Normalised:
    def __call__(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


class Batches(nn.Module):
    """As Kornia's: floats, with a batch dimension whether there is one or not."""

    def forward(self, images: Tensor) -> Tensor:
        images = images.reshape(-1, *images.shape[-3:])
        return nn.functional.avg_pool2d(images, 2)


class Named:
    """As Albumentations': an array by its name, a dictionary back."""

    def __call__(self, *, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": 255 - image[::2]}


grey_mirrored = Compose(Grey(), Mirror())
random_second_step = Compose(Half(), MirrorNowAndThen(), Grey())
normalised = Compose(Half(), Normalised())
batches = Batches()
named = Named()


def only_batches(images: Tensor) -> Tensor:
    count, _, height, width = images.shape
    return nn.functional.avg_pool2d(images, 2).reshape(count, 3, height // 2, width // 2)


def brightest_of_the_batch(images: Tensor) -> Tensor:
    count, _, _, _ = images.shape
    return images / images.amax() if count else images


def halved_tensor(image: Tensor) -> Tensor:
    return image[:, ::2, ::2]


def doubled_floats(image: Tensor) -> Tensor:
    if image.dtype != torch.float32:
        raise TypeError("floats only")
    return image.mul(0.5).repeat(1, 2, 2)


def to_the_cpu(image: Tensor) -> Tensor:
    return torch.zeros(3, 16, 16)


def rows_array(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[::-1, :, 0]) if isinstance(image, np.ndarray) else None


def mean_colour(image: Tensor) -> Tensor:
    return image.float().mean(dim=(1, 2), keepdim=True) / 255


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def prints(image: Image.Image) -> Image.Image:
    print("NOISE")
    os.system("echo NOISE")
    return image


def writes(image: Tensor) -> Tensor:
    outputs = image[:1].float() / 255
    image.zero_()
    return outputs


def returns_its_input(image: Image.Image) -> Image.Image:
    return image


calls = [0]


def raises_on_the_seventh(image: Image.Image) -> Image.Image:
    if np.asarray(image)[0, 0, 0] == 77:
        raise RuntimeError("no such thing")
    return image


def changes_shape(image: Image.Image) -> Image.Image:
    return image.resize((16 + int(np.asarray(image)[0, 0, 0] == 77), 16))


def nan_on_one(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image) / 255
    return pixels * (np.nan if pixels[0, 0, 0] == 77 / 255 else 1)


def counts(image: Image.Image) -> np.ndarray:
    calls[0] += 1
    return np.full((8, 8), calls[0], np.float32)


def needs_a_gpu(image: Any) -> Tensor:
    return torch.zeros(1, 4, 4, device="cuda")


def leaves(image: Any) -> Any:
    sys.exit(3)


def ends_its_process(image: Any) -> Any:
    os._exit(7)


def a_batch(image: Tensor) -> Tensor:
    return torch.stack([image, image])


def a_list(image: Any) -> list[Any]:
    return [image]


def a_string(image: Any) -> str:
    return "an image"


def some_bytes(image: Any) -> bytes:
    return b"an image"


def nothing(image: Any) -> None:
    return None


def a_number(image: Tensor) -> Tensor:
    return image.float().mean()


def complex_numbers(image: Tensor) -> Tensor:
    return torch.fft.fft2(image.float())


no_function = 3
