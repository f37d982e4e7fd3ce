"""Every table's columns with their types, units and meaning: the one place.

A table is one parquet file per run, `tables/TABLE/run=NAME/TABLE.parquet`. The run's name is a
column of its own too, so that a single file stands by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial

import pyarrow as pa

from trainables.errors import cut, first_line
from trainables.hyperparameters import COLUMNS, KNOWN
from trainables.thresholds import STRICT_THRESHOLD, THRESHOLD

LONGEST_WORD = 80  # characters of a name or a type in a sentence
USAGE_EVERY_SEC = 2.0  # of training: how often a process of a trial adds a row to `usage`
VERSION = 5  # in every file; a change of a column asks for a new number

TEXT = pa.string()
INT32, INT64, FLOAT, BOOL = pa.int32(), pa.int64(), pa.float64(), pa.bool_()
SECONDS = pa.float64()
MOMENT = pa.timestamp("us", tz="UTC")
NAME = pa.dictionary(pa.int32(), TEXT)  # what readers take the folder `run=NAME` for
PNG = pa.binary()
PROBES = pa.binary()


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Its unit is `fraction` for numbers from 0 to 1, and empty for names, counts and losses. A value
    may be null where it is not known yet, or nothing that the row has.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    is_json: bool = False  # whether its texts are objects or lists in JSON
    is_late: bool = False  # whether files of this version may lack it, which then have null

    @cached_property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest value that can be right; None where any number can."""
        if self.unit == "fraction":
            return 0.0, 1.0
        if self.unit in ("", "dB"):
            return None
        return 0.0, float("inf")


nullable = partial(Column, nullable=True)
json = partial(Column, type=TEXT, is_json=True)
fraction = partial(Column, type=FLOAT, unit="fraction")


RUN = Column("run", NAME, "name of the search")
TRIAL = Column("trial", INT32, "number of the trial within its run, from 0")

TABLES: Mapping[str, tuple[Column, ...]] = {
    "runs": (
        RUN,
        Column("status", TEXT, "running, finished, interrupted or failed"),
        nullable("phase", TEXT, "searching, confirming, evaluating or timing while it runs"),
        nullable("left_sec", FLOAT, "about how long the search still takes", "s"),
        Column("model", TEXT, "network, as given to --model; auto for those that its trials name"),
        Column("pipeline", TEXT, "what the network is to replace, as given to --pipeline"),
        Column("takes", TEXT, "what it is called with: pil, uint8, float, array or dict"),
        Column("batched", BOOL, "whether it takes many images in one call"),
        json("steps", meaning="names of its steps, as JSON"),
        Column("image_height", INT32, "of an image", "pixels"),
        Column("image_width", INT32, "of an image", "pixels"),
        Column("output_channels", INT32, "of what the pipeline makes of it"),
        Column("output_height", INT32, "of that", "pixels"),
        Column("output_width", INT32, "of that", "pixels"),
        Column("output_low", FLOAT, "lowest value of targets; 0 where they lie in [0, 1]"),
        Column("output_high", FLOAT, "highest; 1 where they lie in [0, 1]"),
        nullable(
            "affine_residual",
            FLOAT,
            "how far P((a + b) / 2) is from the mean of P(a) and P(b), as a share of that range",
        ),
        Column("offset", BOOL, "whether it makes something else than black of black"),
        nullable(
            "kronecker_rank",
            INT32,
            "of an affine pipeline: of how many products, one matrix for rows and one for columns, "
            "it is the sum",
        ),
        Column(
            "probe_outputs",
            PROBES,
            "its outputs on 64 fixed images, at most 1,024 values of each, as float32",
        ),
        Column("rank_by", TEXT, "what best means: loss, cosine, or the name of a metric"),
        nullable("higher_is_better", BOOL, "of that metric; null with loss and cosine"),
        fraction("threshold", meaning="cosine similarity at which outputs count as equal"),
        Column(
            "command",
            TEXT,
            "command line that started the run, and a line for each that gave it more trials",
        ),
        json("config", meaning="every setting of the search, as JSON"),
        json(
            "given",
            meaning="where each setting comes from that was given: `flag`, `file` (--config) or "
            "`run` (--like), by name, as JSON; null for older runs",
            nullable=True,
            is_late=True,
        ),
        json(
            "space",
            meaning="each hyperparameter's type, its range with the scale, or its choices, as "
            "JSON; of `--model auto` by network",
        ),
        Column("seed", INT64, "the search's seed"),
        Column("started_at", MOMENT, "start of the first session"),
        nullable("ended_at", MOMENT, "end of the last session"),
        Column("sessions", INT32, "1, and 1 more for each --resume"),
        nullable("commit", TEXT, "git commit of the code"),
        nullable("dirty", BOOL, "whether the code differed from that commit"),
        json("versions", meaning="of Python, torch, ray and the rest, as JSON"),
        Column("host", TEXT, "machine that the driver ran on"),
        Column("cpu_model", TEXT, "its processor"),
        Column("cpu_count", INT32, "cores in the cluster"),
        nullable("gpu_model", TEXT, "graphics processor of the cluster"),
        Column("gpu_count", INT32, "graphics processors in the cluster"),
        Column("node_count", INT32, "machines in the cluster"),
        Column("memory_gib", FLOAT, "memory in the cluster", "GiB"),
        Column("data", TEXT, "image set"),
        Column("train_images", INT64, "training images used"),
        Column("validation_images", INT64, "validation images"),
        Column("test_images", INT64, "test images"),
        Column("train_fingerprint", TEXT, "SHA-256 of the training pixels used"),
        Column("validation_fingerprint", TEXT, "SHA-256 of the validation pixels"),
        Column("test_fingerprint", TEXT, "SHA-256 of the test pixels"),
    ),
    "trials": (
        RUN,
        TRIAL,
        nullable("repeat_of", INT32, "the finalist that this trial trains again, another seed"),
        Column("model", TEXT, "network"),
        Column("loss", TEXT, "what was minimised: mse, perceptual, or a function by its name"),
        *(
            Column(
                name,
                INT32 if KNOWN[name].kind is int else FLOAT,
                KNOWN[name].meaning,
                KNOWN[name].unit,
                nullable=name == "dropout",  # which a network need not have
            )
            for name in COLUMNS
        ),
        json(
            "parameters",
            meaning="what else the run searched or was set to, by name, as JSON; null for nothing",
            nullable=True,
        ),
        Column("seed", INT64, "the trial's own seed"),
        nullable(
            "stop_reason",
            TEXT,
            "max_epochs, early_stopping, asha, median, diverged, out_of_memory, error or "
            "interrupted; null while it runs",
        ),
        nullable("error", TEXT, "traceback of a trial that failed"),
        Column("epochs", INT32, "epochs trained"),
        nullable("best_epoch", INT32, "epoch that is best by what the run ranks by"),
        nullable("best_validation_loss", FLOAT, "loss on the validation images at that epoch"),
        fraction(
            "best_validation_accuracy",
            meaning="cosine accuracy at the run's threshold at that epoch",
            nullable=True,
        ),
        nullable("best_validation_cosine", FLOAT, "mean cosine similarity at that epoch"),
        nullable(
            "best_validation_score",
            FLOAT,
            "mean of the metric that the run ranks by; null with loss and cosine",
        ),
        nullable("start_sec", SECONDS, "process free (or created) to first batch", "s"),
        nullable("reused_process", BOOL, "whether the process had run a trial before"),
        Column("train_sec", SECONDS, "training and validation, all epochs", "s"),
        nullable("epoch_sec", SECONDS, "median epoch: training and validation", "s"),
        nullable("images_per_sec", FLOAT, "median over epochs, training only", "1/s"),
        nullable(
            "peak_mib", FLOAT, "peak memory: CUDA's if on a GPU, else the process's own", "MiB"
        ),
        nullable("device", TEXT, "what it trained on"),
        nullable("precision", TEXT, "float32, tf32 or bfloat16"),
        nullable("compiled", BOOL, "whether it trained through torch.compile"),
        nullable("threads", INT32, "CPU threads per worker"),
        nullable(
            "perceptual_batch",
            INT32,
            "images of one pass through VGG16, halved whenever memory ran out; null without it",
        ),
        nullable("host", TEXT, "machine it ran on"),
        Column(
            "restarts",
            INT32,
            "times it went on from a checkpoint after its process died or a --resume",
        ),
        Column("started_at", MOMENT, "first start"),
        nullable("ended_at", MOMENT, "end"),
        nullable("checkpoint", TEXT, "directory of its last checkpoint"),
        nullable(
            "damaged_checkpoint",
            TEXT,
            "directory of the last checkpoint that was found damaged: the one before it was used",
        ),
    ),
    "epochs": (
        RUN,
        TRIAL,
        Column("epoch", INT32, "from 1"),
        Column("train_loss", FLOAT, "the trial's loss over the epoch"),
        Column("validation_loss", FLOAT, "the trial's loss after the epoch"),
        fraction(
            "validation_accuracy",
            meaning="fraction of the validation images at cosine ≥ the run's threshold",
        ),
        Column("validation_cosine", FLOAT, "mean cosine similarity"),
        nullable(
            "validation_score",
            FLOAT,
            "mean of the metric that the run ranks by, over the images that have it; null with "
            "loss and cosine",
        ),
        Column("train_sec", SECONDS, "training", "s"),
        Column("validation_sec", SECONDS, "validation", "s"),
        Column("images_per_sec", FLOAT, "training", "1/s"),
        Column("reported_at", MOMENT, "when the search heard of it"),
    ),
    "usage": (
        RUN,
        TRIAL,
        Column("sampled_at", MOMENT, "when, by the clock of the search"),
        Column("cpu_cores", FLOAT, "cores that the trial's process kept busy before that", "cores"),
        Column(
            "memory_mib",
            FLOAT,
            "main memory that it held for itself, without what it shares with others",
            "MiB",
        ),
        fraction(
            "gpu_used",
            meaning="of the time just before: the GPU computed something, for whomever; null "
            "without a GPU, and where NVIDIA's NVML does not tell",
            nullable=True,
        ),
        nullable(
            "gpu_memory_mib", FLOAT, "memory of the GPU that PyTorch held for the trial", "MiB"
        ),
    ),
    "scores": (
        RUN,
        Column("subject", TEXT, "`trial 7`, or the floor's or ceiling's name"),
        Column("kind", TEXT, "trial, floor or ceiling"),
        nullable("trial", INT32, "for a trial: its number"),
        nullable("repeat_of", INT32, "for a repeat with another seed: the finalist"),
        nullable("parameters", INT64, "numbers that were trained"),
        Column("split", TEXT, "test, or validation"),
        Column("images", INT64, "how many of them the metric is defined for"),
        Column("metric", TEXT, "cosine, mse, psnr in dB, ssim, or one of your own"),
        nullable("threshold", FLOAT, "what an image has to reach; null for the mean over images"),
        Column(
            "value",
            FLOAT,
            "the metric's mean over the images; with a threshold the fraction of them that are at "
            "least that good",
        ),
        nullable(
            "low",
            FLOAT,
            "lower end of the 95 % interval that the choice of the images leaves: of a fraction "
            "Wilson's (1927), of a mean 1.96 · sd / √n below it, sd that of the n images; null for "
            "one image, and for means of tables of version 4",
        ),
        nullable("high", FLOAT, "its upper end"),
        Column("trainings", INT32, "for a finalist: it and its repeats; for the rest 1"),
        Column("mean", FLOAT, "mean of `value` over those trainings"),
        nullable("sd", FLOAT, "their standard deviation (n − 1); null for one"),
    ),
    "samples": (
        RUN,
        Column("subject", TEXT, "`trial 7`"),
        TRIAL,
        Column("image", INT32, "index within the test split"),
        Column("cosine", FLOAT, "cosine similarity of output and truth"),
        Column("rank", INT32, "place of that among all test images, from 0 for the lowest"),
        Column("input", PNG, "RGB, as PNG"),
        Column("truth", PNG, "grey or RGB, black and white the ends of the task's range, as PNG"),
        Column("output", PNG, "the same, clipped to that range"),
    ),
    "timings": (
        RUN,
        Column(
            "session",
            INT32,
            "measurements of one session were made together; only these are compared",
        ),
        Column("subject", TEXT, "who was timed, for a finalist `trial 7` and its variants"),
        Column(
            "kind",
            TEXT,
            "pipeline, matrix, peer, trial, untrained, own; study: quoted from the reference study",
        ),
        nullable("model", TEXT, "for a network: its name"),
        nullable("trial", INT32, "for a finalist: the trial"),
        Column("engine", TEXT, "who ran it: torchvision, eager, torch.compile, ONNX Runtime, …"),
        nullable(
            "precision", TEXT, "number format of the computation: uint8, float32, tf32 or bfloat16"
        ),
        nullable("memory_format", TEXT, "contiguous or channels_last"),
        Column("device", TEXT, "cpu or cuda"),
        nullable(
            "batch_size",
            INT32,
            "images a call; torchvision gets a single one without a batch dimension",
        ),
        nullable("environment", TEXT, "steady or default: of threads and memory, docs/timing.md"),
        nullable("turn", INT32, "of the series, from 1"),
        nullable("process", INT32, "the round whose new process had the turn, from 1"),
        Column("images", INT64, "images in a pass: whole batches"),
        nullable(
            "device_sec",
            SECONDS,
            "a pass over inputs that lie on the device as the subject wants them; not in each turn",
            "s",
        ),
        Column("end_to_end_sec", SECONDS, "a pass from uint8 to float32, both in host memory", "s"),
        nullable(
            "overlapped_sec",
            SECONDS,
            "on a GPU: the same with pinned memory and copies beside the computation",
            "s",
        ),
        nullable("bus_sec", SECONDS, "on a GPU: copying a pass there and its results back", "s"),
        nullable("calls", INT64, "of single images in the series, from end to end"),
        nullable("p50_sec", SECONDS, "the 50 % quantile of those calls", "s"),
        nullable("p90_sec", SECONDS, "their 90 % quantile", "s"),
        nullable("p99_sec", SECONDS, "their 99 % quantile, where there are 662 calls", "s"),
        nullable("first_call_sec", SECONDS, "first batch of this size, compilation included", "s"),
        nullable("limit_sec", SECONDS, "least time for a pass by the rates in this row", "s"),
        nullable("matrix_gflops", FLOAT, "measured rate of a large matrix product", "GFLOP/s"),
        nullable("bandwidth_gb_per_sec", FLOAT, "measured rate of copying a large buffer", "GB/s"),
        nullable(
            "max_difference",
            FLOAT,
            "largest of its outputs for the first 1,000 images from what it should compute",
        ),
        nullable(
            "compared_with", TEXT, "what that is: the pipeline, or the network in eager float32"
        ),
        fraction(
            "share_95",
            meaning=f"images at cosine ≥ {THRESHOLD} to the pipeline's float32 output",
            nullable=True,
        ),
        fraction("share_99", meaning=f"images at cosine ≥ {STRICT_THRESHOLD} to it", nullable=True),
        nullable(
            "verdict", TEXT, "of the series: valid, rough or invalid; null until its last turn"
        ),
        nullable("reason", TEXT, "of the verdict, and what to change"),
        nullable(
            "other_load",
            FLOAT,
            "cores that other work kept busy meanwhile, and in the turns next to it",
        ),
        nullable("disturbed", BOOL, "whether that took the subject's cores: it does not count"),
        nullable("throttled", BOOL, "whether heat or power lowered a clock during the turn"),
        nullable("device_gaps", BOOL, "whether `device_sec` contains waiting for the host"),
        nullable("gpu_processes", INT32, "other processes on the GPU"),
        nullable("cpu_clock_mhz", FLOAT, "the processor's clock after the turn", "MHz"),
        nullable("gpu_clock_mhz", FLOAT, "the GPU's clock after the turn", "MHz"),
        nullable(
            "energy_j", FLOAT, "drawn by the device for a pass, measured once over 0.5 s", "J"
        ),
        nullable("power_w", FLOAT, "that energy by the wall-clock time of its pass", "W"),
        nullable(
            "peak_mib", FLOAT, "peak memory: CUDA's if on a GPU, else the process's own", "MiB"
        ),
        nullable("threads", INT32, "CPU threads: one where single images are timed"),
        nullable("cores", INT32, "CPU cores that the process could use"),
        nullable("cpu_model", TEXT, "processor"),
        nullable("gpu_model", TEXT, "graphics processor"),
        nullable("driver", TEXT, "its driver's version"),
        json("versions", meaning="of Python, torch and the rest, as JSON", nullable=True),
        nullable("commit", TEXT, "git commit of the code"),
        nullable("dirty", BOOL, "whether the code differed from that commit"),
        nullable("host", TEXT, "machine"),
        nullable("seed", INT64, "from which the order of the series was drawn"),
        nullable("measured_at", MOMENT, "end of the turn"),
    ),
    "cards": (
        RUN,
        Column("subject", TEXT, "a subject of the timings table that has weights"),
        Column("parameters", INT64, "numbers that training adjusts"),
        Column(
            "flops_per_image",
            INT64,
            "2 per multiplication and addition in matrix products and convolutions",
        ),
        Column("bytes_per_image", INT64, "read as uint8 and written as float32", "B"),
        Column("weight_bytes", INT64, "all weights", "B"),
        nullable(
            "receptive_height",
            INT32,
            "input rows that the middle output pixel depends on, where it depends on any",
            "pixels",
        ),
        nullable("receptive_width", INT32, "likewise columns", "pixels"),
    ),
}

# The columns that tell a run's rows of a table apart
KEYS: Mapping[str, tuple[str, ...]] = {
    "runs": (),
    "trials": ("trial",),
    "epochs": ("trial", "epoch"),
    "usage": ("trial", "sampled_at"),
    "scores": ("subject", "split", "metric", "threshold"),
    "samples": ("subject", "image"),
    "timings": ("session", "subject", "device", "batch_size", "turn"),
    "cards": ("subject",),
}


def column(table: str, name: str) -> Column:
    """Return a column of a table."""
    return next(one for one in TABLES[table] if one.name == name)


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Return a table's Arrow schema; units and meanings are in its fields' metadata."""
    fields = [
        pa.field(c.name, c.type, c.nullable, {"unit": c.unit, "meaning": c.meaning})
        for c in TABLES[table]
    ]
    return pa.schema(fields, {"table": table, "schema_version": str(VERSION)})


def schema_problems(found: pa.Schema, wanted: pa.Schema) -> list[str]:
    """Return what keeps a file with the schema `found` from having the one `wanted`, as sentences.

    About a file of another version only the version is said. Whether columns may be null is not
    compared: `analysis.tables.checks` looks at their values. Late columns may be missing.
    """
    if found.equals(wanted, check_metadata=True):
        return []
    metadata = {key: _shown(value) for key, value in (found.metadata or {}).items()}
    table, wanted_version = (wanted.metadata[key].decode() for key in (b"table", b"schema_version"))
    named = metadata.get(b"table", "")
    if named != table:
        stated = f"the table {named}" if named else "no table"
        return [f"its metadata says that it is {stated}, should be {table}"]
    version = metadata.get(b"schema_version", "none")
    if version != wanted_version:
        return [
            f"it has schema version {version}, and this transform-tuner reads 4 and {VERSION}: "
            "take the one that wrote it, or make the run again"
        ]
    problems = []
    for field in found:
        name, kind = _shown(field.name), _shown(field.type)
        if field.name not in wanted.names:
            problems.append(f"column {name}: the table {table} has none of that name")
        elif field.type != wanted.field(field.name).type:
            problems.append(f"column {name}: is {kind}, should be {wanted.field(field.name).type}")
    late = {one.name for one in TABLES[table] if one.is_late}
    there = [name for name in wanted.names if name in found.names or name not in late]
    problems += [f"column {name} is missing" for name in there if name not in found.names]
    if not problems and found.names != there:
        problems = [f"its columns are in another order than the table {table} has them"]
    return problems


def _shown(word: object) -> str:
    """Return what a file says of itself, for a sentence: damaged, it may be long and strange."""
    text = word.decode(errors="replace") if isinstance(word, bytes) else str(word)
    return cut(first_line(text), LONGEST_WORD)
