"""Where runs lie: a storage directory here, or one in a bucket (s3://…)."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from analysis.tables.parquet import check_size
from analysis.tables.schema import TABLES
from analysis.tables.version_4 import names_of
from trainables.errors import UsageError, first_line

BUCKET = "s3://"
LAYOUT = "tables/TABLE/run=NAME/TABLE.parquet"
REFUSED = ("ACCESS_DENIED", "AccessDenied")  # as PyArrow says it, and botocore
READINGS = 20  # of a file that has no end: under a bucket's busiest writer every fifth lacks it


@dataclass(frozen=True)
class TableSource:
    """A directory of tables, with the runs that were in it when it was opened."""

    name: str
    """As sentences call it: what was typed, without a bucket's options."""
    files: FileSystem
    root: PurePosixPath
    """The directory that has a folder for each table, within `files`."""
    runs: dict[str, dict[str, PurePosixPath]]
    """Each run's files by table, in the schema's order."""

    def where(self, table: str, run: str) -> str:
        """Return the file's name for sentences."""
        return f"{BUCKET if self.name.startswith(BUCKET) else ''}{self.runs[run][table]}"

    def read(self, table: str, run: str) -> bytes:
        """Return the file's bytes, all of one version while a writer replaces it.

        A bucket gives the length before the bytes, and a writer may come in between: then the end
        is missing, or anything at all (PyArrow 26 leaves what it did not fill as it was), and the
        file is read again.

        Raises:
            OSError: It can't be read.
            ValueError: It is too large for a table.
        """
        path, data = str(self.runs[run][table]), b""
        for _ in range(READINGS):
            with self.files.open_input_file(path) as file:
                check_size(size=file.size())
                data = file.read()
                with self.files.open_input_file(path) as again:
                    is_one_version = file.metadata() == again.metadata()  # of a bucket, its ETag
            if is_one_version and data.endswith(b"PAR1"):
                break
        return data


def open_source(source: str) -> TableSource:
    """Find the runs of a storage directory, or of its directory `tables`.

    Args:
        source: A directory, or `s3://BUCKET/PATH`.

    Raises:
        UsageError: It can't be opened, or there are no runs in it.
    """
    try:
        name, files, path = resolved(source)
        for root in (path / "tables", path):
            if runs := _runs(files, root):
                return TableSource(name, files, root, runs)
        is_there = files.get_file_info(str(path)).type == FileType.Directory
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{source} can't be opened: {reason(error, source)}") from error
    what = "has no tables" if is_there else "doesn't exist"
    raise UsageError(f"{source} {what}: a source is a storage directory, in which {LAYOUT} lies")


def open_collection(directory: Path) -> TableSource:
    """Find the runs of the directory that runs are collected in; there may be none yet."""
    files, root = LocalFileSystem(), PurePosixPath(directory / "tables")
    return TableSource(str(directory), files, root, _runs(files, root))


def resolved(source: str) -> tuple[str, FileSystem, PurePosixPath]:
    """Return a source's name for sentences, its file system, and its path there.

    Raises:
        UsageError: It is neither a directory's name nor a bucket's address.
        ArrowException, OSError, ValueError: What pyarrow has against the address.
    """
    if source.startswith(BUCKET):
        if source == BUCKET:
            raise UsageError("it names no bucket")
        files, path = FileSystem.from_uri(source)
        return BUCKET + path, files, PurePosixPath(path)
    if "://" in source:
        raise UsageError(f"sources are directories and {BUCKET}BUCKET/PATH; copy it to one of them")
    return source, LocalFileSystem(), PurePosixPath(Path(source))


def reason(error: Exception, source: str) -> str:
    """Return why a source can't be opened, and for a bucket what to check."""
    if isinstance(error, OSError) and source.startswith(BUCKET):
        return (
            f"{first_line(error)}; "
            "check the address, and AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
        )
    return first_line(error)


def is_refusal(error: OSError) -> bool:
    """Return whether a bucket's service says that these keys may not do that.

    Waiting does not change it, as it may an error of the network.
    """
    return any(words in str(error) for words in REFUSED)


def _runs(files: FileSystem, root: PurePosixPath) -> dict[str, dict[str, PurePosixPath]]:
    runs: dict[str, dict[str, PurePosixPath]] = {}
    for table in TABLES:
        for name in names_of(table):
            selector = FileSelector(str(root / name), recursive=True, allow_not_found=True)
            for info in files.get_file_info(selector):
                path = PurePosixPath(info.path)
                run = path.parent.name.removeprefix("run=")
                is_ours = path == root / f"{name}/run={run}/{name}.parquet"
                if is_ours and info.type == FileType.File:
                    runs.setdefault(run, {})[table] = path
    return runs
