import math

import pytest
import torch

from trainables import kronecker
from trainables.kronecker import Factors, apply, fit, pruned, sums


def drawn(rank: int, made: int = 2) -> list[Factors]:
    """Terms from images of 3 × 8 × 9 to outputs of `made` × 7 × 6."""
    shapes = ((made, 3), (7, 8), (9, 6))
    return [Factors(*(torch.randn(shape).double() for shape in shapes)) for _ in range(rank)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_term_is_rows_times_mixed_channels_times_columns() -> None:
    ((channels, rows, columns),) = drawn(1)
    images = torch.randn(4, 3, 8, 9).double()
    mixed = torch.stack([sum(channels[c, k] * images[:, k] for k in range(3)) for c in range(2)], 1)
    torch.testing.assert_close(Factors(channels, rows, columns)(images), rows @ mixed @ columns)


def test_the_matrix_of_a_term_is_the_kronecker_product_of_its_factors() -> None:
    (term,) = drawn(1)
    expected = torch.kron(term.channels, torch.kron(term.rows, term.columns.mT.contiguous()))
    torch.testing.assert_close(term.matrix(), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_sum_that_made_the_outputs_is_found(rank: int) -> None:
    terms = drawn(rank)
    images, unseen = torch.randn(2, 120, 3, 8, 9).double()
    found = next(sums(images, apply(terms, images), range(rank, 5), plain=100))
    assert len(found) == rank
    torch.testing.assert_close(apply(found, unseen), apply(terms, unseen), atol=1e-4, rtol=0)


def test_a_sum_of_one_column_factor_and_several_rows_is_found_at_its_rank() -> None:
    first, second = drawn(2)
    terms = [first, second._replace(columns=first.columns)]
    images, unseen = torch.randn(2, 120, 3, 8, 9).double()
    one, two = (next(found) for found in [sums(images, apply(terms, images), range(1, 3), 100)] * 2)
    assert (apply(one, unseen) - apply(terms, unseen)).abs().max() > 0.1
    torch.testing.assert_close(apply(two, unseen), apply(terms, unseen), atol=1e-4, rtol=0)


def test_nothing_is_yielded_for_what_is_a_sum_of_many_more() -> None:
    images = torch.randn(60, 3, 8, 9).double()
    assert list(sums(images, apply(drawn(20), images), range(1, 5), plain=50)) == []


def test_a_map_to_nothing_has_a_term_of_zeros() -> None:
    images = torch.randn(20, 3, 8, 9)
    (term,) = fit(images, torch.zeros(20, 2, 7, 6), rank=1)
    assert not term(images).any()


def test_factors_are_scaled_to_weights_of_sum_one() -> None:
    images = torch.randn(60, 3, 8, 9).double()
    (term,) = fit(images, -5 * apply(drawn(1), images), rank=1)
    assert float(term.rows.abs().sum(dim=1).max()) == pytest.approx(1)
    assert float(term.columns.abs().sum(dim=0).max()) == pytest.approx(1)
    assert term.rows.sum() > 0
    assert term.columns.sum() > 0


def test_pruning_makes_zeros_of_small_weights_alone() -> None:
    term = Factors(*(torch.tensor([[2.0, -1e-3, 1e-3 + 1e-5]]).double(),) * 3)
    assert pruned(term, 5.02e-4).rows.tolist() == [[2.0, 0.0, pytest.approx(1.01e-3)]]
    assert math.isclose(pruned(term, 0.4).rows.sum(), 2.0)


def test_what_would_take_too_long_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(60, 3, 8, 9).double()
    monkeypatch.setattr(kronecker, "BEGIN_WORK", 1e6)
    assert list(sums(images, apply(drawn(1), images), range(1, 5), plain=50)) == []


def test_of_large_images_one_rank_alone_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(60, 3, 8, 9).double()
    monkeypatch.setattr(kronecker, "WORK", 1e6)
    assert len(list(sums(images, apply(drawn(1), images), range(1, 5), plain=50))) == 1
