"""The network of a run in a bucket is exported without fetching anything by hand."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pyarrow.fs import FileSystem

from tests.tuner.bucket_service import Service
from trainables.data.examples import Examples, as_float
from trainables.export import load_exported, main
from trainables.networks.registry import build
from trainables.networks.weights import SavedNetwork, load_network, save_network


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """A storage in a bucket of a service on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):
            patch.setenv(name, text)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        service = Service()
        yield f"s3://searches/team/results?{service.options}"
        service.stop()


@pytest.fixture(scope="module")
def weights(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bucket has of the run `sep`."""
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    torch.manual_seed(3)
    save_network(path, build("separable").state_dict(), SavedNetwork("separable", {}, {}))
    files, root = FileSystem.from_uri(storage)
    with files.open_output_stream(f"{root}/networks/run=sep/best.safetensors") as file:
        file.write(path.read_bytes())
    return path


def test_a_run_in_a_bucket_is_exported_into_the_current_directory(
    storage: str,
    weights: Path,
    tmp_path: Path,
    photographs: Examples,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sep", "--to", "torch", "--storage", storage]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["sep.pt2"]
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith("sep.pt2  ")
    assert "; differs from best.safetensors by at most " in printed
    images = photographs.images[:3]
    with torch.inference_mode():
        expected = load_network(weights)(as_float(images))
        torch.testing.assert_close(
            load_exported(tmp_path / "sep.pt2")(images), expected, rtol=0, atol=1e-5
        )


def test_a_run_in_a_bucket_is_exported_to_where_out_says(
    storage: str, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made" / "net.pt2"
    assert main(["sep", "--to", "torch", "--storage", storage, "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["net.pt2"]


@pytest.mark.parametrize(
    ("run", "replaced", "told"),
    [
        (
            "other",
            ("", ""),
            "team/results has no finished run 'other': give one of sep, or give a file",
        ),
        (
            "sep",
            ("team", "nobody"),
            "nobody/results has no finished run 'sep': there is none yet: give a file",
        ),
        ("sep", ("searches", "no-such-bucket"), "no-such-bucket"),
        ("sep", ("s3://searches/team/results", "s3://"), "--storage s3://"),
        ("sep", ("scheme=http", "no=such"), "can't be read ("),
        ("sep", ("s3://", "gs://"), "give a directory or s3://BUCKET/PATH"),
    ],
)
def test_what_a_bucket_does_not_have_is_one_sentence(
    run: str,
    replaced: tuple[str, str],
    told: str,
    storage: str,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([run, "--storage", storage.replace(*replaced) if replaced[0] else storage]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert error.count("\n") == 1


def test_an_address_with_keys_in_it_is_refused_and_not_told_back(
    storage: str, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sep", "--storage", storage.replace("s3://", "s3://key:secret@")]) == 2
    assert capsys.readouterr().err == (
        "error: --storage: a bucket's keys belong into AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, not its address\n"
    )


def test_an_export_of_a_run_here_imports_nothing_for_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "networks" / "run=sep" / "best.safetensors"
    save_network(path, build("separable").state_dict(), SavedNetwork("separable", {}, {}))
    for package in ("pyarrow", "pyarrow.fs"):
        monkeypatch.setitem(sys.modules, package, None)  # to import it would be an error
    assert main(["sep", "--to", "torch", "--storage", str(tmp_path)]) == 0
