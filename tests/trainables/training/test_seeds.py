import pytest

from trainables.training.seeds import derive_seed


@pytest.mark.parametrize(
    ("parts", "seed"), [((0,), 2446721946), ((0, 1), 2781527649), ((0, "fc", 1e-3), 2160548940)]
)
def test_a_seed_is_the_same_in_every_process_and_on_every_machine(
    parts: tuple[object, ...], seed: int
) -> None:
    assert derive_seed(*parts) == seed


def test_seeds_differ_as_soon_as_a_part_or_the_order_does() -> None:
    seeds = [derive_seed(seed, epoch) for seed in range(50) for epoch in range(50)]
    assert len(set(seeds)) == 2500
    assert (
        len({derive_seed(1), derive_seed(1, 0), derive_seed("1"), derive_seed(1.0), derive_seed()})
        == 5
    )


def test_a_seed_fills_32_bits_and_no_more() -> None:
    seeds = [derive_seed(number) for number in range(1000)]
    assert 0 <= min(seeds) < 2**24
    assert 2**31 < max(seeds) < 2**32
