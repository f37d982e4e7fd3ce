import torch
from torchvision.transforms import v2

from trainables.pipelines.study import as_float


def test_every_byte_becomes_the_float_that_torchvision_makes_of_it() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(
        as_float(every_byte), v2.functional.to_dtype(every_byte, torch.float32, scale=True)
    )


def test_the_bytes_stay_as_they_are() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8)
    as_float(every_byte).zero_()
    assert torch.equal(every_byte, torch.arange(256, dtype=torch.uint8))
