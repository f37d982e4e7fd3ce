"""An object is replaced only while it is what was read; its service is the one of the address."""

import pytest

from analysis.tables.table_sources import is_refusal
from tests.tuner.bucket_service import AWAY, Service
from tuner.storage.guarded_object import GuardedObject
from tuner.storage.run_storage import Experiment


def at(storage: str) -> GuardedObject:
    """The object `lease` of a storage."""
    experiment = Experiment.of(storage, "run")
    return GuardedObject(storage, f"{experiment.root}/lease", experiment.files.region)


def test_an_object_is_written_over_the_version_that_was_read_and_over_no_other(
    service: Service,
) -> None:
    one = at(f"s3://searches/guarded?{service.options}")
    assert one.read() is None
    assert one.write(b"first", None)
    assert not one.write(b"also first", None)
    content, version = one.read() or (b"", "")
    assert content == b"first"
    assert one.write(b"second", version)
    assert not one.write(b"also second", version)
    assert not one.delete(version)
    content, version = one.read() or (b"", "")
    assert content == b"second"
    assert one.delete(version)
    assert not one.write(b"third", version)
    assert one.read() is None


def test_what_a_service_refuses_is_an_os_error(service: Service) -> None:
    one = at(f"s3://searches/refused?{service.options}")
    service.trouble = AWAY
    try:
        with pytest.raises(OSError, match="503"):
            one.read()
        with pytest.raises(OSError, match="503"):
            one.write(b"", None)
    finally:
        service.trouble = ""
    service.refused_keys = {"key"}
    try:
        with pytest.raises(OSError, match="Denied") as error:
            one.write(b"", None)
        assert is_refusal(error.value)
    finally:
        service.refused_keys = set()


@pytest.mark.parametrize("status", ["400 Bad Request", "501 Not Implemented"])
def test_conditions_are_left_out_only_where_none_was_ever_held(
    service: Service, status: str
) -> None:
    storage = f"s3://searches/left-out?{service.options}"
    one, another = at(storage), at(storage)
    assert one.write(b"first", None)
    service.conditions = status
    try:
        with pytest.raises(OSError, match=status[:3]):
            one.write(b"second", None)
        assert one.read() == another.read()
        assert another.write(b"third", None)
        assert another.write(b"fourth", "of no object")
    finally:
        service.conditions = "held"
    content, version = one.read() or (b"", "")
    assert content == b"fourth"
    assert one.delete(version)


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ("region=eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
        ("region=eu-west-1&endpoint_override=host:9000", "https://host:9000"),
        ("scheme=http&endpoint_override=host:9000", "http://host:9000"),
    ],
)
def test_a_service_is_found_where_the_address_says(options: str, endpoint: str) -> None:
    assert at(f"s3://bucket/runs?{options}")._client.meta.endpoint_url == endpoint


@pytest.mark.parametrize(
    ("options", "verify"),
    [
        ("", True),
        ("&tls_ca_file_path=/own.pem", "/own.pem"),
        ("&tls_verify_certificates=false", False),
    ],
)
def test_certificates_are_those_that_the_address_names(
    options: str, verify: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    one = at(f"s3://bucket/runs?region=eu-west-1{options}")
    assert one._client._endpoint.http_session._verify == verify
