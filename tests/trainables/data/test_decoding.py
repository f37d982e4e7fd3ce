import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from trainables.data import decoding
from trainables.data.decoding import decode_all
from trainables.data.pixels import UnreadableError
from trainables.errors import UsageError


def squares(count: int) -> Iterator[tuple[int, str, Callable[[], int]]]:
    for number in range(count):
        yield number, f"{number}.png", lambda number=number: number * number


def test_all_are_decoded_in_their_order() -> None:
    done = list(decode_all("--data mine", squares(500), 500, None))
    assert done == [(number, number * number) for number in range(500)]


def test_every_core_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "cores", lambda: 3)
    all_there = threading.Barrier(3, timeout=60)
    jobs = ((number, "", all_there.wait) for number in range(3))
    assert len(list(decode_all("--data mine", jobs, 3, None))) == 3


def test_no_more_are_begun_ahead_than_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "cores", lambda: 2)
    asked: list[int] = []

    def counted() -> Iterator[tuple[int, str, Callable[[], int]]]:
        for job in squares(1000):
            asked.append(job[0])
            yield job

    for number, _ in decode_all("--data mine", counted(), 1000, None):
        assert len(asked) <= number + 2 * decoding.AHEAD + 1


def test_all_that_cannot_be_read_are_counted_and_ten_are_named() -> None:
    def refuse() -> int:
        raise UnreadableError("torn")

    def closed() -> int:
        raise PermissionError(13, "Permission denied", "x")

    bad = [(0, f"bad{number}.png", refuse) for number in range(11)]
    jobs = [*squares(3), (0, "closed.png", closed), *bad]
    done = []
    with pytest.raises(UsageError) as error:
        done.extend(decode_all("--data mine", jobs, 15, None))
    said = str(error.value)
    assert said.startswith("--data mine: 12 of 15 images can't be read: closed.png (Permission den")
    assert said.endswith("bad8.png (torn) and 2 more: mend them or take them away")


def test_what_is_no_image_of_theirs_but_a_bug_of_ours_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(decode_all("--data mine", [(0, "", lambda: 1 // 0)], 1, None))


def test_libraries_warn_nobody() -> None:
    before = list(warnings.filters)
    jobs = [(0, "", lambda: warnings.warn("large", stacklevel=1))]
    list(decode_all("--data mine", jobs, 1, None))
    assert warnings.filters == before


def test_an_interrupt_waits_for_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "cores", lambda: 1)
    begun, free = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        free.wait(60)

    def jobs() -> Iterator[tuple[int, str, Callable[[], None]]]:
        yield 0, "", slow
        yield 1, "", slow
        begun.wait(60)
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(decode_all("--data mine", jobs(), 2, None))
    assert threading.active_count() == threads + 1, "the first image goes on, and nobody waits"
    free.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is; each image moves it on."""
    now = [100.0]
    monkeypatch.setattr(decoding.time, "monotonic", lambda: now[0])
    return now


def timed(clock: list[float], count: int, sec: float) -> list[str]:
    """The lines that reading so many images says, of so many seconds each."""
    lines: list[str] = []
    for _ in decode_all("--data mine", squares(count), count, lines.append):
        clock[0] += sec
    return lines


def test_what_takes_less_than_a_second_says_nothing(clock: list[float]) -> None:
    assert timed(clock, 90, 0.01) == []


def test_what_is_left_is_said_now_and_then(clock: list[float]) -> None:
    lines = timed(clock, 2000, 0.01)
    assert 80 <= len(lines) <= 100
    assert lines[0] == "images read: 100 of 2,000, about 19 s left"
