"""What tests of buckets share: a real S3 server on the loopback."""

import itertools
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSystem

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A bucket service on this machine, as options of an address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):
            patch.setenv(name, text)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        host, port = server.get_host_and_port()
        yield f"scheme=http&endpoint_override={host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> tuple[FileSystem, str]:
    """A bucket of the test's own: how to write into it, and its name."""
    name = f"runs-{next(NUMBERS)}"
    files, _ = FileSystem.from_uri(f"s3://{name}?{endpoint}&allow_bucket_creation=true")
    files.create_dir(name)
    return files, name


def put(files: FileSystem, key: str, data: bytes) -> None:
    with files.open_output_stream(key) as file:
        file.write(data)
