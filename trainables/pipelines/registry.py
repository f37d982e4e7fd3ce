"""The pipelines by name. A new pipeline is one file, and one line here."""

from trainables.task import STUDY_NAME

PIPELINES = {STUDY_NAME: "trainables.pipelines.study:reference"}
"""Each is a function over a batch: (N, 3, H, W) uint8 → (N, c, h, w) float32."""

OLDER_NAMES = {"reference": STUDY_NAME}
"""What older tables call them."""
