"""Every table's columns with their types, units and meaning: the one place.

A table is one parquet file per run, `tables/TABLE/run=NAME/TABLE.parquet`. The run's name is a column of
its own too, so that a single file stands by itself.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pyarrow as pa

VERSION = 4
"""2 added `trials.loss` and `samples.rank`, 3 `trials.damaged_checkpoint`, 4 `trials.best_validation_cosine`."""

TEXT = pa.string()
SECONDS = pa.float64()
MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column; null where `nullable`, for what is not known yet or does not apply."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    since: int = 1
    """The schema version that brought it."""
    earlier: Any = None
    """What tables from before that are read as."""

    @cached_property
    def range(self) -> tuple[float, float] | None:
        """Between which values it lies, both included; None where any number can be right."""
        return {"share": (0.0, 1.0), "": None, "dB": None}.get(self.unit, (0.0, float("inf")))


def share(name: str, meaning: str, nullable: bool = False) -> Column:
    """A column of shares, from 0 to 1."""
    return Column(name, pa.float64(), meaning, "share", nullable)


# The type that readers give the folder `run=NAME`, so that pandas reads a folder of runs without a word
RUN = Column("run", pa.dictionary(pa.int32(), pa.string()), "name of the search")
TRIAL = Column("trial", pa.int32(), "number of the trial within its run, from 0")

RUNS = (
    RUN,
    Column("status", TEXT, "running, finished, interrupted or failed"),
    Column("model", TEXT, "network, as given to --model"),
    Column("pipeline", TEXT, "what the network is to replace"),
    Column("command", TEXT, "command line that started the run"),
    Column("config", TEXT, "every setting of the search, as JSON"),
    Column("seed", pa.int64(), "the search's seed"),
    Column("started_at", MOMENT, "start of the first session"),
    Column("ended_at", MOMENT, "end of the last session", nullable=True),
    Column("sessions", pa.int32(), "1, and 1 more for each --resume"),
    Column("commit", TEXT, "git commit of the code", nullable=True),
    Column("dirty", pa.bool_(), "whether the code differed from that commit", nullable=True),
    Column("versions", TEXT, "of Python, torch, ray and the rest, as JSON"),
    Column("host", TEXT, "machine that the driver ran on"),
    Column("cpu_model", TEXT, "its processor"),
    Column("cpu_count", pa.int32(), "cores in the cluster"),
    Column("gpu_model", TEXT, "graphics processor of the cluster", nullable=True),
    Column("gpu_count", pa.int32(), "graphics processors in the cluster"),
    Column("node_count", pa.int32(), "machines in the cluster"),
    Column("memory_gib", pa.float64(), "memory in the cluster", "GiB"),
    Column("data", TEXT, "image set"),
    Column("train_images", pa.int64(), "training images used"),
    Column("validation_images", pa.int64(), "validation images"),
    Column("test_images", pa.int64(), "test images"),
    Column("train_fingerprint", TEXT, "SHA-256 of the training pixels used"),
    Column("validation_fingerprint", TEXT, "SHA-256 of the validation pixels"),
    Column("test_fingerprint", TEXT, "SHA-256 of the test pixels"),
)

TRIALS = (
    RUN,
    TRIAL,
    Column(
        "confirms",
        pa.int32(),
        "the finalist that this trial trains again, another seed",
        nullable=True,
    ),
    Column("model", TEXT, "network"),
    Column("loss", TEXT, "what was minimised: mse or perceptual", since=2, earlier="mse"),
    Column("learning_rate", pa.float64(), "Adam's step size"),
    Column("dropout", pa.float64(), "share of activations dropped", nullable=True),
    Column("patience", pa.int32(), "early-stopping patience", "epochs"),
    Column("seed", pa.int64(), "the trial's own seed"),
    Column(
        "stop_reason",
        TEXT,
        "max_epochs, early_stopping, asha, diverged, out_of_memory, error or interrupted; null while it runs",
        nullable=True,
    ),
    Column("error", TEXT, "traceback of a trial that failed", nullable=True),
    Column("epochs", pa.int32(), "epochs trained"),
    Column("best_epoch", pa.int32(), "epoch of the lowest validation loss", nullable=True),
    Column(
        "best_validation_loss",
        pa.float64(),
        "loss on the validation images at that epoch",
        nullable=True,
    ),
    share("best_validation_accuracy", "cosine accuracy at 0.95 at that epoch", nullable=True),
    Column(
        "best_validation_cosine",
        pa.float64(),
        "mean cosine similarity at that epoch",
        nullable=True,
        since=4,
    ),
    Column("start_sec", SECONDS, "process free (or created) to first batch", "s", nullable=True),
    Column(
        "reused_process", pa.bool_(), "whether the process had run a trial before", nullable=True
    ),
    Column("train_sec", SECONDS, "training and validation, all epochs", "s"),
    Column("epoch_sec", SECONDS, "median epoch: training and validation", "s", nullable=True),
    Column(
        "images_per_sec", pa.float64(), "median over epochs, training only", "1/s", nullable=True
    ),
    Column(
        "peak_mib",
        pa.float64(),
        "peak memory: CUDA's if on a GPU, else the process's own",
        "MiB",
        True,
    ),
    Column("device", TEXT, "what it trained on", nullable=True),
    Column("precision", TEXT, "float32, tf32 or bfloat16", nullable=True),
    Column(
        "compiled", pa.bool_(), "whether it trained through torch.compile", nullable=True, since=4
    ),
    Column("threads", pa.int32(), "CPU threads per worker", nullable=True),
    Column(
        "perceptual_batch",
        pa.int32(),
        "images of one pass through VGG16, halved whenever memory ran out; null without it",
        nullable=True,
        since=4,
    ),
    Column("host", TEXT, "machine it ran on", nullable=True),
    Column(
        "restarts",
        pa.int32(),
        "times it went on from a checkpoint after its process died or a --resume",
    ),
    Column("started_at", MOMENT, "first start"),
    Column("ended_at", MOMENT, "end", nullable=True),
    Column("checkpoint", TEXT, "directory of its last checkpoint", nullable=True),
    Column(
        "damaged_checkpoint",
        TEXT,
        "directory of the last checkpoint that was found damaged: the one before it was used",
        nullable=True,
        since=3,
    ),
)

EPOCHS = (
    RUN,
    TRIAL,
    Column("epoch", pa.int32(), "from 1"),
    Column("train_loss", pa.float64(), "the trial's loss over the epoch"),
    Column("validation_loss", pa.float64(), "the trial's loss after the epoch"),
    share("validation_accuracy", "share of validation images at cosine ≥ 0.95"),
    Column("validation_cosine", pa.float64(), "mean cosine similarity"),
    Column("train_sec", SECONDS, "training", "s"),
    Column("validation_sec", SECONDS, "validation", "s"),
    Column("images_per_sec", pa.float64(), "training", "1/s"),
    Column("reported_at", MOMENT, "when the search heard of it"),
)

ACCURACY = (
    RUN,
    Column("subject", TEXT, "`trial 7`, or the floor's or ceiling's name"),
    Column("kind", TEXT, "trial, floor or ceiling"),
    Column("trial", pa.int32(), "for a trial: its number", nullable=True),
    Column("confirms", pa.int32(), "for a repeat with another seed: the finalist", nullable=True),
    Column("parameters", pa.int64(), "numbers that were trained", nullable=True),
    Column("split", TEXT, "test, or validation"),
    Column("images", pa.int64(), "how many"),
    Column("threshold", pa.float64(), "cosine similarity to reach"),
    share("share", "share of images that reach it"),
    Column("trainings", pa.int32(), "for a finalist: it and its repeats; for the rest 1"),
    share("share_mean", "mean share over those trainings"),
    share("share_std", "their standard deviation (n − 1)", nullable=True),
    Column("cosine_mean", pa.float64(), "mean cosine similarity"),
    Column("mse", pa.float64(), "mean squared error"),
    Column("psnr_db", pa.float64(), "mean over images of the peak signal-to-noise ratio", "dB"),
    Column("ssim", pa.float64(), "mean structural similarity, Wang et al. 2004"),
)

SAMPLES = (
    RUN,
    Column("subject", TEXT, "`trial 7`"),
    TRIAL,
    Column("image", pa.int32(), "index within the test split"),
    Column("cosine", pa.float64(), "cosine similarity of output and truth"),
    Column(
        "rank",
        pa.int32(),
        "place of that among all test images, from 0 for the lowest",
        nullable=True,
        since=2,
    ),
    Column("input", pa.binary(), "32 × 32 RGB, as PNG"),
    Column("truth", pa.binary(), "28 × 28 grey, as PNG"),
    Column("output", pa.binary(), "28 × 28 grey, clipped to [0, 1], as PNG"),
)

TIMINGS = (
    RUN,
    Column(
        "session",
        pa.int32(),
        "measurements of one session were made together; only these are compared",
    ),
    Column("subject", TEXT, "who was timed, for a finalist `trial 7` and its variants"),
    Column(
        "kind",
        TEXT,
        "pipeline, matrix, peer, trial, untrained, own; study: quoted from the reference study",
    ),
    Column("model", TEXT, "for a network: its name", nullable=True),
    Column("trial", pa.int32(), "for a finalist: the trial", nullable=True),
    Column("engine", TEXT, "who ran it: torchvision, eager, torch.compile, ONNX Runtime, …"),
    Column(
        "precision",
        TEXT,
        "number format of the computation: uint8, float32, tf32 or bfloat16",
        nullable=True,
    ),
    Column("memory_format", TEXT, "contiguous or channels_last", nullable=True),
    Column("device", TEXT, "cpu or cuda"),
    Column(
        "batch_size",
        pa.int32(),
        "images a call; torchvision gets a single one without a batch dimension",
        "",
        True,
    ),
    Column(
        "pass",
        pa.int32(),
        "from 1; passes of the same number were measured in the same round",
        nullable=True,
    ),
    Column("images", pa.int64(), "images in a pass: whole batches"),
    Column(
        "device_sec",
        SECONDS,
        "a pass over inputs that lie on the device as the subject wants them",
        "s",
        True,
    ),
    Column("end_to_end_sec", SECONDS, "a pass from uint8 to float32, both in host memory", "s"),
    Column(
        "repeats",
        pa.int32(),
        "passes timed as one, so that the clock costs below 0.1 %",
        nullable=True,
    ),
    Column("warm_up_passes", pa.int32(), "untimed passes before the first", nullable=True),
    Column(
        "settled", pa.bool_(), "whether the last three of them agreed within 5 %", nullable=True
    ),
    Column(
        "first_call_sec",
        SECONDS,
        "first batch of this size, compilation included",
        "s",
        nullable=True,
    ),
    Column(
        "limit_sec", SECONDS, "least time for a pass by the rates in this row", "s", nullable=True
    ),
    Column(
        "matrix_gflops",
        pa.float64(),
        "measured rate of a large matrix product",
        "GFLOP/s",
        nullable=True,
    ),
    Column(
        "bandwidth_gb_per_sec",
        pa.float64(),
        "measured rate of copying a large buffer",
        "GB/s",
        nullable=True,
    ),
    Column(
        "max_difference",
        pa.float64(),
        "largest of its outputs for the first 1,000 images from what it should compute",
        nullable=True,
    ),
    Column(
        "compared_with",
        TEXT,
        "what that is: the pipeline, or the network in eager float32",
        nullable=True,
    ),
    share(
        "share_95",
        "share of the images at cosine ≥ 0.95 to the pipeline's float32 output",
        nullable=True,
    ),
    share("share_99", "share at cosine ≥ 0.99", nullable=True),
    Column(
        "verdict",
        TEXT,
        "of the series: valid, warning or invalid; null until its last pass",
        nullable=True,
    ),
    Column("reason", TEXT, "of the verdict, and what to change", nullable=True),
    Column(
        "other_load",
        pa.float64(),
        "cores that other work kept busy; counted in 10 ms: take the mean",
        nullable=True,
    ),
    Column(
        "throttled",
        pa.bool_(),
        "whether heat or power lowered a clock during the pass",
        nullable=True,
    ),
    Column(
        "device_gaps",
        pa.bool_(),
        "whether `device_sec` contains waiting for the host",
        nullable=True,
    ),
    Column("gpu_processes", pa.int32(), "other processes on the GPU", nullable=True),
    Column(
        "cpu_clock_mhz", pa.float64(), "the processor's clock after the pass", "MHz", nullable=True
    ),
    Column("gpu_clock_mhz", pa.float64(), "the GPU's clock after the pass", "MHz", nullable=True),
    Column(
        "energy_j",
        pa.float64(),
        "drawn by the GPU for a pass, measured once over 0.5 s",
        "J",
        nullable=True,
    ),
    Column(
        "power_w",
        pa.float64(),
        "that energy by the wall-clock time of its pass",
        "W",
        nullable=True,
    ),
    Column(
        "peak_mib",
        pa.float64(),
        "peak memory: CUDA's if on a GPU, else the process's own",
        "MiB",
        nullable=True,
    ),
    Column("threads", pa.int32(), "CPU threads", nullable=True),
    Column("cores", pa.int32(), "CPU cores that the process could use", nullable=True),
    Column("cpu_model", TEXT, "processor", nullable=True),
    Column("gpu_model", TEXT, "graphics processor", nullable=True),
    Column("driver", TEXT, "its driver's version", nullable=True),
    Column("versions", TEXT, "of Python, torch and the rest, as JSON", nullable=True),
    Column("commit", TEXT, "git commit of the code", nullable=True),
    Column("dirty", pa.bool_(), "whether the code differed from that commit", nullable=True),
    Column("host", TEXT, "machine", nullable=True),
    Column("seed", pa.int64(), "from which the order of the series was drawn", nullable=True),
    Column("measured_at", MOMENT, "end of the pass", nullable=True),
)

CARDS = (
    RUN,
    Column("subject", TEXT, "a subject of the timings table that has weights"),
    Column("parameters", pa.int64(), "numbers that training adjusts"),
    Column(
        "flops_per_image",
        pa.int64(),
        "2 per multiplication and addition in matrix products and convolutions",
    ),
    Column("bytes_per_image", pa.int64(), "read as uint8 and written as float32", "B"),
    Column("weight_bytes", pa.int64(), "all weights", "B"),
    Column(
        "receptive_height",
        pa.int32(),
        "input rows that the middle output pixel depends on",
        "pixels",
    ),
    Column("receptive_width", pa.int32(), "likewise columns", "pixels"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "runs": RUNS,
    "trials": TRIALS,
    "epochs": EPOCHS,
    "accuracy": ACCURACY,
    "samples": SAMPLES,
    "timings": TIMINGS,
    "cards": CARDS,
}


KEYS: dict[str, tuple[str, ...]] = {
    "runs": (),
    "trials": ("trial",),
    "epochs": ("trial", "epoch"),
    "accuracy": ("subject", "split", "threshold"),
    "samples": ("subject", "image"),
    "timings": ("session", "subject", "device", "batch_size", "pass"),
    "cards": ("subject",),
}
"""The columns that tell a run's rows of a table apart."""


@cache
def arrow_schema(table: str) -> pa.Schema:
    """The table's Arrow schema; units and meanings travel in the parquet file's own metadata."""
    fields = [
        pa.field(c.name, c.type, c.nullable, {"unit": c.unit, "meaning": c.meaning})
        for c in TABLES[table]
    ]
    return pa.schema(fields, {"table": table, "schema_version": str(VERSION)})


def brought_up(table: str, content: pa.Table) -> pa.Table:
    """`content` with today's columns, whatever version it was written by; foreign columns are left out.

    Raises ValueError when a column is missing or has a type that does not convert, or when the file is from a
    newer version.
    """
    target = arrow_schema(table)
    if content.schema.equals(target):
        return content
    version = file_version(content.schema)
    if version > VERSION:
        raise ValueError(
            f"it has schema version {version}, and this one reads up to {VERSION}: update transform-tuner"
        )
    columns = [_column(column, content, version) for column in TABLES[table]]
    return pa.table(columns, schema=target)


def file_version(schema: pa.Schema) -> int:
    """The schema version that a file was written by; 0 when it does not say."""
    stated = (schema.metadata or {}).get(b"schema_version", b"0")
    return int(stated) if stated.isdigit() else 0


def _column(column: Column, content: pa.Table, version: int) -> pa.ChunkedArray:
    if column.name in content.column_names:
        try:
            return content.column(column.name).cast(column.type)
        except pa.ArrowException as error:
            reason = f"is {content.schema.field(column.name).type}, should be {column.type}"
            raise ValueError(f"column {column.name}: {reason}") from error
    if version >= column.since:
        raise ValueError(f"column {column.name} is missing")
    return pa.chunked_array([pa.array([column.earlier] * len(content), column.type)])
