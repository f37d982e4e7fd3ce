"""The best network of a run in a bucket (s3://…), fetched."""

from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from trainables.errors import UsageError, first_line, known_runs

BUCKET = "s3://"
BEST = "best.safetensors"


def fetch_best(storage: str, run: str, directory: Path) -> Path:
    """Bring a run's best weights into `directory`; returns the file.

    Args:
        storage: The bucket's address, as `--storage` has it.
        run: The name of the run.
        directory: Where to write.

    Raises:
        UsageError: The bucket or the run is not there.
    """
    from pyarrow import ArrowException  # here: what lies on this machine does not need it
    from pyarrow.fs import FileSystem, FileType

    if "@" in storage:  # not printed again: screens and logs are read by others
        raise UsageError(
            "--storage: a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "not its address"
        )
    try:
        files, root = FileSystem.from_uri(storage)
        weights = f"{root}/networks/run={run}/{BEST}"
        (info,) = files.get_file_info([weights])
        if info.type == FileType.File:
            with files.open_input_stream(weights, compression=None) as file:
                (directory / BEST).write_bytes(file.read())
            return directory / BEST
        known = known_runs(_folders(files, f"{root}/networks"), "give a file")
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"--storage {storage} can't be read ({first_line(error)}): "
            f"check the address, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
        ) from error
    raise UsageError(f"{BUCKET}{root} has no finished run {run!r}: {known}")


def _folders(files: Any, networks: str) -> list[PurePath]:
    """List the folders of the runs of which there are best weights."""
    from pyarrow.fs import FileSelector

    found = files.get_file_info(FileSelector(networks, recursive=True, allow_not_found=True))
    paths = (PurePosixPath(info.path) for info in found)
    return [path.parent for path in paths if path.name == BEST]
