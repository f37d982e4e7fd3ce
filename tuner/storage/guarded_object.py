"""An object in a bucket that is replaced only while it is what its writer has read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from trainables.errors import first_line

CHANGED = frozenset({404, 409, 412})  # it is gone, is being written by another, or is another one
NO_CONDITIONS = frozenset({400, 501})  # from services that know no such header
CONNECT_SEC, ANSWER_SEC, TRIES = 3, 10, 3


class GuardedObject:
    """Reads an object with its version (ETag), and writes it only over a version that was read.

    PyArrow has no such writing. Keys are found as PyArrow finds them: in the environment, in AWS's
    files, by the machine's role.
    """

    def __init__(self, storage: str, path: str, region: str) -> None:
        """Make a client; nothing is asked yet. Raises OSError where AWS's files don't allow it.

        Args:
            storage: Address as `--storage` has it, with the options that PyArrow takes.
            path: The object's, which begins with the bucket.
            region: The bucket's; empty where nobody knows it.
        """
        options = {name: last for name, (*_, last) in parse_qs(urlsplit(storage).query).items()}
        bucket, _, key = path.partition("/")
        self._object = {"Bucket": bucket, "Key": key}
        self._takes_conditions: bool | None = None  # unknown before the first writing
        config = Config(
            connect_timeout=CONNECT_SEC,
            read_timeout=ANSWER_SEC,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            # Amazon's checksums of 2025 are refused by services that don't know them
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with _as_os_errors():
            self._client = Session().create_client(
                "s3",
                region_name=region or None,
                endpoint_url=_endpoint(**options),
                verify=_certificates(**options),
                config=config,
            )

    def read(self) -> tuple[bytes, str] | None:
        """Return the object's bytes and its version, None where there is none. Raises OSError."""
        with _as_os_errors():
            try:
                answer = self._client.get_object(**self._object)
            except self._client.exceptions.NoSuchKey:
                return None
            return answer["Body"].read(), answer["ETag"]

    def write(self, content: bytes, seen: str | None) -> bool:
        """Write the object unless it has changed. Raises OSError.

        Args:
            content: All of it.
            seen: The version that it replaces; None where nothing may lie there.

        Returns:
            Whether it was written. Where a service can't hold the condition it always is.
        """
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        return self._ask(self._client.put_object, condition, Body=content)

    def delete(self, seen: str) -> bool:
        """Delete the object unless it has changed; returns whether it was. Raises OSError."""
        return self._ask(self._client.delete_object, {"IfMatch": seen})

    def _ask(self, call: Callable[..., Any], condition: dict[str, str], **content: bytes) -> bool:
        if self._takes_conditions is False:
            condition = {}
        with _as_os_errors():
            try:
                call(**self._object, **condition, **content)
                was_done = True
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status in NO_CONDITIONS and self._takes_conditions is None:
                    call(**self._object, **content)  # raises where that was not the reason
                    self._takes_conditions = False
                    return True
                if status not in CHANGED:
                    raise
                was_done = False
        if self._takes_conditions is None:
            self._takes_conditions = True
        return was_done


def _endpoint(*, endpoint_override: str = "", scheme: str = "https", **_: str) -> str | None:
    """Return where a service of one's own answers, None for Amazon's or AWS_ENDPOINT_URL's."""
    return f"{scheme}://{endpoint_override}" if endpoint_override else None


def _certificates(
    *, tls_ca_file_path: str | None = None, tls_verify_certificates: str = "true", **_: str
) -> str | bool | None:
    """Return the file of certificates that are believed, False for all, None for the usual ones."""
    return tls_ca_file_path if tls_verify_certificates == "true" else False


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise OSError for all that goes wrong with a service, as PyArrow does."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(first_line(error)) from error
