"""The best network of a run in a bucket (s3://…), fetched."""

from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from trainables.errors import known_runs

BUCKET = "s3://"
BEST = "best.safetensors"


def fetch_best(storage: str, run: str, directory: Path) -> Path:
    """Bring a run's best weights into `directory`. Raises ValueError when the bucket or the run is not there."""
    from pyarrow import ArrowException  # here: what lies on this machine does not need it
    from pyarrow.fs import FileSystem, FileType

    if "@" in storage:  # not told back: screens and logs are read by others
        raise ValueError(
            "--storage: a bucket's keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not its address"
        )
    try:
        files, root = FileSystem.from_uri(storage)
        weights = f"{root}/networks/run={run}/{BEST}"
        (info,) = files.get_file_info([weights])
        if info.type == FileType.File:
            return _copied(files, weights, directory / BEST)
        known = known_runs(_folders(files, f"{root}/networks"), "give a file")
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"--storage {storage} can't be read ({reason}): "
            f"check the address, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
        ) from error
    raise ValueError(f"{BUCKET}{root} has no finished run {run!r}: {known}")


def _copied(files: Any, source: str, path: Path) -> Path:
    with files.open_input_stream(source, compression=None) as file:
        path.write_bytes(file.read())
    return path


def _folders(files: Any, networks: str) -> list[PurePath]:
    """Folders of the runs of which there are best weights."""
    from pyarrow.fs import FileSelector

    found = files.get_file_info(FileSelector(networks, recursive=True, allow_not_found=True))
    paths = (PurePosixPath(info.path) for info in found)
    return [path.parent for path in paths if path.name == BEST]
