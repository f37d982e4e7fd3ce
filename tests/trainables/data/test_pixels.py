"""What is decoded is what an image viewer shows."""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from trainables.data import pixels as module
from trainables.data.images import Pixels
from trainables.data.pixels import UnreadableError

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's; `decoding` ignores them too

GREY_16 = np.full((40, 40), 0x8081, np.uint16)  # 128 · 257 + 1
RED = (200, 0, 0)


def decode(content: bytes) -> Pixels:
    return module.decode(content, (32, 32))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth: int, colours: int, row: bytes, transparent: bytes = b"", side: int = 32) -> bytes:
    """A PNG of equal rows, of depths and with transparent colours that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colours, 0, 0, 0))
    key = chunk(b"tRNS", transparent) if transparent else b""
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 32))
    return b"\x89PNG\r\n\x1a\n" + header + key + pixels + chunk(b"IEND", b"")


def palette(**options: Any) -> Image.Image:
    image = Image.new("P", (40, 40), 3)
    image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, *RED])
    return image


def only_colour(content: bytes) -> list[int]:
    """The colour of an image that has one."""
    pixels = decode(content)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    return [int(part) for part in pixels[0, 0]]


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(GREY_16)),
        encoded(Image.fromarray(GREY_16), "TIFF"),
        encoded(Image.frombytes("I;16B", (40, 40), GREY_16.byteswap().tobytes()), "TIFF"),
        b"P5 32 32 65535\n" + b"\x80\x81" * 32**2,
        b"P5 32 32 4095\n" + b"\x08\x08" * 32**2,
        encoded(Image.fromarray(np.full((40, 40), 128 / 255, np.float32)), "TIFF"),
        b"Pf\n32 32\n-1.0\n" + np.full(32**2, 128 / 255, np.float32).tobytes(),
        encoded(Image.fromarray(0xFFFF - GREY_16), "TIFF", tiffinfo={262: 0}),
    ],
    ids=["PNG", "TIFF", "I;16B", "PGM", "12 bits", "float", "PFM", "white is 0"],
)
def test_grey_of_more_than_8_bits_is_scaled(content: bytes) -> None:
    assert only_colour(content) == [128] * 3


def test_every_step_of_16_bits_goes_to_the_nearest_of_8() -> None:
    steps = np.arange(2**16, dtype=np.uint16)
    wanted = np.rint(steps / 257)
    for block in range(0, 2**16, 32**2):
        part = slice(block, block + 32**2)
        image = Image.fromarray(steps[part].reshape(32, 32))
        assert np.array_equal(decode(encoded(image))[:, :, 0].ravel(), wanted[part])


@pytest.mark.parametrize(
    "numbers",
    [
        np.full((40, 40), 70_000, np.int32),
        np.full((40, 40), 255, np.float32),
        np.full((40, 40), -0.5, np.float32),
        np.full((40, 40), np.nan, np.float32),
    ],
    ids=["32 bits", "above 1", "below 0", "not a number"],
)
def test_grey_of_which_nothing_says_what_is_white_is_refused(numbers: np.ndarray) -> None:
    with pytest.raises(UnreadableError, match=r"grey .*: nothing says which is white"):
        decode(encoded(Image.fromarray(numbers), "TIFF"))


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0))), [255, 255, 255]),
        (encoded(Image.new("RGBA", (40, 40), (200, 0, 100, 51))), [244, 204, 224]),
        (encoded(Image.new("RGBA", (40, 40), (*RED, 255))), [200, 0, 0]),
        (encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "WEBP", lossless=True), [255] * 3),
        (encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "TIFF"), [255] * 3),
        (encoded(Image.new("LA", (40, 40), (0, 51))), [204] * 3),
        (encoded(Image.new("LA", (40, 40), (0, 51)), "TIFF"), [204] * 3),
        (encoded(palette(), transparency=3), [255] * 3),
        (encoded(palette(), transparency=bytes([9, 9, 9, 51])), [244, 204, 204]),
        (encoded(palette(), "GIF", transparency=3), [255] * 3),
        (encoded(palette()), [200, 0, 0]),
        (encoded(Image.new("RGB", (40, 40), RED), transparency=RED), [255] * 3),
        (encoded(Image.new("L", (40, 40), 7), transparency=7), [255] * 3),
        (encoded(Image.new("L", (40, 40), 7), transparency=8), [7] * 3),
        (png(1, 0, b"\0" * 4, b"\0\0"), [255] * 3),
        (png(2, 0, b"\x55" * 8, b"\0\1"), [255] * 3),
        (png(4, 0, b"\x77" * 16, b"\0\7"), [255] * 3),
        (png(4, 0, b"\x77" * 16, b"\0\x77"), [0x77] * 3),
        (png(16, 0, b"\x12\x34" * 32, b"\x12\x34"), [255] * 3),
        (png(16, 0, b"\x12\x34" * 32, b"\x12\x35"), [0x12] * 3),
        (png(16, 2, b"\x12\x34\x56\x78\x9a\xbc" * 32, b"\x12\x34\x56\x78\x9a\xbc"), [255] * 3),
        (png(16, 2, b"\x12\x34\x56\x78\x9a\xbc" * 32), [0x12, 0x56, 0x9A]),
        (png(16, 4, b"\0\0\x33\x33" * 32), [204] * 3),
    ],
)
def test_what_is_transparent_shows_white(content: bytes, colour: list[int]) -> None:
    assert only_colour(content) == colour


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(Image.new("1", (40, 40), 1)), [255] * 3),
        (encoded(Image.new("1", (40, 40), 1), "TIFF"), [255] * 3),
        (encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "TIFF"), [255, 0, 0]),
        (encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=100), [255, 0, 0]),
        (encoded(Image.new("YCbCr", (40, 40), (77, 128, 128)), "TIFF"), [77] * 3),
        (encoded(Image.new("LAB", (40, 40), (128, 128, 128)), "TIFF"), [119] * 3),
    ],
    ids=["1 bit", "1 bit TIFF", "CMYK TIFF", "CMYK JPEG", "YCbCr", "LAB"],
)
def test_other_modes_are_converted(content: bytes, colour: list[int]) -> None:
    assert only_colour(content) == colour


ORIENTED = {1: 0, 2: 1, 3: 3, 4: 2, 5: 0, 6: 1, 7: 3, 8: 2}  # where its first corner then lies


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "corner"), ORIENTED.items())
def test_an_image_is_turned_as_its_tag_says(kind: str, orientation: int, corner: int) -> None:
    image = Image.new("RGB", (64, 64))
    image.paste("red", (0, 0, 32, 32))
    tags = Image.Exif()
    tags[274] = orientation
    given = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": tags}
    corners = decode(encoded(image, kind, **given))[::31, ::31, 0].ravel()
    assert int(corners.argmax()) == corner
    assert sorted(corners)[2] < 9


def test_a_wide_image_that_lies_on_its_side_is_cropped_upright() -> None:
    tags = Image.Exif()
    tags[274] = 6
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:32, 64:128] = 255  # the upper half, which is the right one once it is upright
    upright = decode(encoded(Image.fromarray(wide), exif=tags))
    assert upright[:, 20:].min() > 230
    assert upright[:, :12].max() < 25


def test_damaged_tags_turn_nothing() -> None:
    broken = encoded(Image.new("L", (40, 40), 77), "PNG", exif=b"Exif\0\0garbage")
    assert only_colour(broken) == [77] * 3


def test_colours_of_an_embedded_profile_are_brought_to_srgb() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encoded(image, icc_profile=srgb)), noise)
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    assert np.abs(decode(encoded(image, icc_profile=swapped)) - noise[:, :, [1, 0, 2]]).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_says_nothing_of_the_image_is_passed_over(mode: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = b"no profile" * 20 if mode == "RGB" else srgb
    image = Image.new(mode, (40, 40), "#4d4d4d")
    assert only_colour(encoded(image, icc_profile=profile)) == [77] * 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_image_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (40, 40), RED), Image.new("RGB", (40, 40), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert only_colour(content) == list(RED)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image", "not an image of a known format"),
        (encoded(NOISE)[:900], "truncated"),
        (encoded(NOISE, "JPEG")[:900], "truncated"),
        (encoded(NOISE, "GIF")[:900], "truncated"),
        (encoded(NOISE, "BMP")[:900], "truncated"),
        (png(8, 2, bytes(96), side=100_000), "exceeds limit"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
    ids=["empty", "text", "PNG", "JPEG", "GIF", "BMP", "huge", "a program that draws"],
)
def test_what_cannot_be_shown_is_refused_in_a_few_words(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason) as error:
        decode(content)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 150


def test_whatever_damage_an_image_has_it_is_shown_or_refused() -> None:
    random = np.random.default_rng(0)
    tags = Image.Exif()
    tags[274] = 6
    given = [encoded(NOISE, kind, exif=tags) for kind in ("PNG", "JPEG", "WEBP")]
    given += [encoded(NOISE.quantize(9), "GIF"), encoded(Image.fromarray(GREY_16)), encoded(NOISE)]
    shown = 0
    for content in given * 50:
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 300), 3):
            damaged[place] = random.integers(256)
        with suppress(UnreadableError):
            shown += decode(bytes(damaged)).shape == (32, 32, 3)
    assert 0 < shown < 300


def photograph(width: int, height: int) -> Image.Image:
    """Smooth colours, as photographs have them."""
    down, across = np.mgrid[0:height, 0:width]
    waves = [np.sin(across / 40), np.cos(down / 30), np.sin((across + down) / 50)]
    return Image.fromarray(np.stack([np.uint8(127 + 120 * wave) for wave in waves], axis=-1))


@pytest.mark.parametrize("size", [(32, 32), (48, 20), (20, 48), (1, 1), (224, 224)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_becomes_as_high_and_as_wide_as_is_asked_for(
    size: tuple[int, int], kind: str
) -> None:
    image = photograph(300, 200)
    shown = module.decode(encoded(image, kind, quality=98), size)
    assert shown.shape == (*size, 3)
    expected = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
    assert np.abs(shown.astype(int) - np.asarray(expected)).max() < 16


def test_without_a_size_an_image_keeps_its_own() -> None:
    image = photograph(30, 20)
    assert np.array_equal(module.decode(encoded(image), None), np.asarray(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_an_eighth_and_looks_the_same(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = Image.Exif()
    tags[274] = orientation
    image = photograph(1200, 800).convert(mode)
    content = encoded(image, "JPEG", quality=98, exif=tags)
    whole = module.opened(content)
    part = module.opened(content, (32, 32))
    assert (whole.width // part.width, whole.height // part.height) == (8, 8)
    difference = module.shown(part, (32, 32)).astype(int) - module.shown(whole, (32, 32))
    assert np.abs(difference).max() < 12


def test_a_jpeg_is_never_decoded_smaller_than_twice_what_is_asked_for() -> None:
    for width, height, size in ((640, 480, (32, 32)), (127, 900, (32, 32)), (640, 480, (100, 20))):
        part = module.opened(encoded(photograph(width, height), "JPEG"), size)
        assert min(part.size) >= min(2 * max(size), width, height)


def test_the_colours_of_a_profile_are_those_of_the_whole_jpeg() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    image = Image.new("RGB", (640, 480), RED)
    content = encoded(image, "JPEG", quality=98, icc_profile=swapped)
    assert np.abs(decode(content).astype(int) - (0, 200, 0)).max() <= 3
