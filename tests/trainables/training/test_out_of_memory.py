import numpy
import pytest
import torch

from trainables.memory import is_short_of_memory


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
