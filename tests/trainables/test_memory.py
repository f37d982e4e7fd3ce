import mmap
import resource
from pathlib import Path

import numpy
import psutil
import pytest
import torch

from trainables.memory import PeakMemory, is_short_of_memory, own_mib

MIB = 2**20


def can_forget_the_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return "VmHWM" in Path("/proc/self/status").read_text()


@pytest.mark.skipif(
    not can_forget_the_peak(), reason="needs a system that can reset a process's peak memory"
)
def test_the_peak_is_what_was_used_since_the_reset_though_it_is_free_again() -> None:
    memory = PeakMemory(torch.device("cpu"))
    memory.reset()
    before = memory.mib()
    # Not of an allocator, which may have as much left over from before
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    assert 60 < memory.mib() - before < 80
    memory.reset()
    assert memory.mib() < before + 20


def test_without_proc_the_peak_is_that_of_the_whole_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.memory.Path", lambda path: tmp_path / path.lstrip("/"))
    memory = PeakMemory(torch.device("cpu"))
    memory.reset()
    assert memory.mib() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_on_a_gpu_the_peak_is_cudas(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = [300 * MIB]
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peaks.append(5 * MIB))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks[-1])
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    memory = PeakMemory(torch.device("cuda"))
    assert memory.mib() == 300.0
    memory.reset()
    assert memory.mib() == 5.0


@pytest.mark.skipif(
    not can_forget_the_peak(), reason="needs a system that can reset a process's peak memory"
)
def test_what_is_shared_with_other_processes_is_not_the_processs_own() -> None:
    memory = PeakMemory(torch.device("cpu"))
    memory.reset()
    before = memory.mib()
    with mmap.mmap(-1, 64 * MIB) as shared:
        for _ in range(64):
            shared.write(b"1" * MIB)
        assert memory.mib() - before < 20


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_was_short_whichever_library_says_so(error: BaseException) -> None:
    assert is_short_of_memory(error)


@pytest.mark.parametrize("make", [torch.empty, numpy.empty])
def test_memory_was_short_for_a_tensor_larger_than_any_machine(make: object) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        make(2**45)  # type: ignore[operator]
    assert is_short_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("can't allocate memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_other_errors_are_not_for_want_of_memory(error: BaseException) -> None:
    assert not is_short_of_memory(error)


@pytest.mark.skipif(
    not can_forget_the_peak(), reason="needs a system that tells what of a process is its own"
)
def test_what_a_process_holds_for_itself_now_is_what_it_took_and_did_not_give_back() -> None:
    before = own_mib()
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert 60 < own_mib() - before < 80
    assert own_mib() < before + 20


def test_without_proc_that_is_the_resident_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "VmRSS: 1 kB")
    assert own_mib() == pytest.approx(psutil.Process().memory_info().rss / MIB, rel=0.5)
