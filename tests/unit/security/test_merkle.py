from __future__ import annotations

import pytest

from security.merkle import add_leaf, complete_parts, consistency_path, inclusion_path, leaf_hash, peaks_of, root_of

# The test vectors of the Certificate Transparency reference implementation.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_roots_are_those_of_the_reference_implementation():
    peaks: list[bytes] = []
    roots = [root_of(peaks).hex()]
    for size, leaf in enumerate(LEAVES, 1):
        add_leaf(peaks, leaf_hash(bytes.fromhex(leaf)), size)
        roots.append(root_of(peaks).hex())
    assert roots == ROOTS


def test_paths_are_those_of_the_example_in_rfc_6962():
    # Section 2.1.3, seven leaves; there d0 is leaf 1 here.
    assert inclusion_path(1, 7) == [(1, 2), (2, 4), (4, 7)]
    assert inclusion_path(4, 7) == [(2, 3), (0, 2), (4, 7)]
    assert inclusion_path(5, 7) == [(5, 6), (6, 7), (0, 4)]
    assert inclusion_path(7, 7) == [(4, 6), (0, 4)]
    assert consistency_path(3, 7) == [(2, 3), (3, 4), (0, 2), (4, 7)]
    assert consistency_path(4, 7) == [(4, 7)]
    assert consistency_path(6, 7) == [(4, 6), (6, 7), (0, 4)]


def test_a_range_is_made_of_complete_subtrees_named_by_their_last_leaf_and_level():
    assert complete_parts((0, 7)) == peaks_of(7) == [(4, 2), (6, 1), (7, 0)]
    assert complete_parts((4, 7)) == [(6, 1), (7, 0)]
    assert peaks_of(0) == []


@pytest.mark.parametrize(("leaf", "size"), [(0, 3), (4, 3), (-1, 3), (1, 0)])
def test_there_is_no_path_for_a_leaf_that_is_not_there(leaf: int, size: int):
    with pytest.raises(ValueError, match="does not stand"):
        inclusion_path(leaf, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3), (0, 0)])
def test_there_is_no_growth_from_nothing_or_backwards(first: int, second: int):
    with pytest.raises(ValueError, match="does not grow"):
        consistency_path(first, second)
