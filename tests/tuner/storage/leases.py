"""What lies in a bucket while a run in it is searched, as others see it and change it."""

import json

from pyarrow.fs import FileType

from tuner.storage import claim
from tuner.storage.run_storage import RunStorage


def lease_path(run: RunStorage) -> str:
    return f"{run.experiment.root}/{claim.LEASE_FILE}"


def is_there(run: RunStorage) -> bool:
    (info,) = run.experiment.files.get_file_info([lease_path(run)])
    return bool(info.type == FileType.File)


def owner(run: RunStorage) -> dict[str, object]:
    with run.experiment.files.open_input_stream(lease_path(run)) as file:
        found: dict[str, object] = json.loads(file.read())
    return found


def write_lease(run: RunStorage, lease: dict[str, object]) -> None:
    with run.experiment.files.open_output_stream(lease_path(run)) as file:
        file.write(json.dumps(lease).encode())


def take_over(run: RunStorage) -> None:
    """As a machine does that has not heard of the owner for long."""
    write_lease(
        run,
        {"host": "elsewhere", "pid": 1, "machine": "another machine", "id": "0", "renewal": "0"},
    )
