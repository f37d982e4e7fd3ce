"""Draw docs/result.png from the samples tables of runs: input, pipeline, each network's output.

python docs/picture.py results/tables fc-run cnn-run separable-run
"""

import io
import sys
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from analysis.tables.files import read

COLUMNS, ZOOM, GAP, LABEL = 8, 3, 12, 150


def main(tables: str, *runs: str) -> None:
    """One column per image, one row per run below input and truth."""
    frames = [best_finalist(Path(tables), run).set_index("image") for run in runs]
    images = list(frames[0].index[:: len(frames[0]) // COLUMNS][:COLUMNS])
    rows = [("input", frames[0].input), ("pipeline", frames[0].truth)]
    names = [read(Path(tables), "runs", run).model[0] for run in runs]
    rows += [(name, frame.output) for name, frame in zip(names, frames, strict=True)]
    side = 32 * ZOOM
    size = (LABEL + COLUMNS * (side + GAP), len(rows) * (side + GAP + 14) + GAP)
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for position, (name, column) in enumerate(rows):
        top = GAP + position * (side + GAP + 14)
        draw.text((GAP, top + side / 2 - 8), name, "black", font)
        for place, image in enumerate(images):
            left = LABEL + place * (side + GAP)
            tile = (
                Image.open(io.BytesIO(column[image]))
                .convert("RGB")
                .resize((side, side), Image.Resampling.NEAREST)
            )
            picture.paste(tile, (left, top))
            if position >= 2:
                cosine = frames[position - 2].cosine[image]
                draw.text(
                    (left, top + side),
                    f"cosine {cosine:.3f}",
                    "#555555",
                    ImageFont.load_default(11),
                )
    picture.save(Path(__file__).with_name("result.png"), optimize=True)


def best_finalist(tables: Path, run: str) -> pd.DataFrame:
    """The samples of the run's best trial, which comes first."""
    samples = read(tables, "samples", run)
    return samples[samples.trial == samples.trial.iloc[0]]


if __name__ == "__main__":
    main(*sys.argv[1:])
