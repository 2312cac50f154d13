from model.seeds import derive_seed


def test_derived_seeds_are_fixed_and_distinct() -> None:
    assert derive_seed(1, "trial", 2) == derive_seed(1, "trial", 2)
    seeds = {derive_seed(1), derive_seed(1, "1"), derive_seed(1, 1), derive_seed(2, 1), derive_seed(1, 1, 1)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(7, "epoch", 3) == 4738941080608759763
