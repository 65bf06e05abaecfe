"""Every proof of small trees, and any of larger ones, against the verification of RFC 9162."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from security.merkle import add_leaf, complete_parts, consistency_path, inclusion_path, leaf_hash, root_of
from tests.unit.security.rfc9162 import consistency_holds, inclusion_holds, of_leaf, of_nodes

LARGEST = 70
LEAVES = [f"entry {number}".encode() for number in range(1, 701)]


def grown(size: int) -> tuple[dict[tuple[int, int], bytes], list[bytes]]:
    """The stored subtrees of a tree grown leaf by leaf, and its root after each."""
    stored: dict[tuple[int, int], bytes] = {}
    peaks: list[bytes] = []
    roots = [root_of(peaks)]
    for leaf in range(1, size + 1):
        completed = add_leaf(peaks, leaf_hash(LEAVES[leaf - 1]), leaf)
        stored |= {(leaf, level): found for level, found in enumerate(completed)}
        roots.append(root_of(peaks))
    return stored, roots


STORED, ROOTS = grown(len(LEAVES))


def resolved(ranges: list[tuple[int, int]]) -> list[bytes]:
    return [root_of([STORED[part] for part in complete_parts(leaves)]) for leaves in ranges]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 defines it."""
    if len(leaves) == 1:
        return of_leaf(leaves[0])
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return of_nodes(tree_hash(leaves[:half]), tree_hash(leaves[half:]))


def test_growing_leaf_by_leaf_gives_the_root_of_the_definition():
    for size in range(1, LARGEST + 1):
        assert ROOTS[size] == tree_hash(LEAVES[:size])


def test_every_inclusion_proof_of_every_small_tree_is_verified():
    for size in range(1, LARGEST + 1):
        for leaf in range(1, size + 1):
            path = resolved(inclusion_path(leaf, size))
            assert len(path) <= size.bit_length()
            assert inclusion_holds(leaf - 1, size, of_leaf(LEAVES[leaf - 1]), path, ROOTS[size])


def test_every_consistency_proof_between_small_trees_is_verified():
    for second in range(1, LARGEST + 1):
        for first in range(1, second + 1):
            path = resolved(consistency_path(first, second))
            assert len(path) <= second.bit_length() + 1
            assert consistency_holds(first, second, ROOTS[first], ROOTS[second], path)


@given(st.integers(1, 700), st.data())
def test_a_proof_shows_no_other_leaf_no_other_place_and_no_other_tree(size: int, data: st.DataObject):
    leaf = data.draw(st.integers(1, size))
    path = resolved(inclusion_path(leaf, size))
    assert inclusion_holds(leaf - 1, size, of_leaf(LEAVES[leaf - 1]), path, ROOTS[size])
    other = data.draw(st.integers(1, 700).filter(lambda number: number != leaf))
    assert not inclusion_holds(leaf - 1, size, of_leaf(LEAVES[other - 1]), path, ROOTS[size])
    assert not inclusion_holds(other - 1, size, of_leaf(LEAVES[leaf - 1]), path, ROOTS[size])
    other_size = data.draw(st.integers(1, 700).filter(lambda number: number != size))
    assert not inclusion_holds(leaf - 1, other_size, of_leaf(LEAVES[leaf - 1]), path, ROOTS[other_size])


@given(st.integers(2, 700), st.data())
def test_a_tree_that_was_rewritten_is_not_consistent_with_what_was_seen_before(second: int, data: st.DataObject):
    first = data.draw(st.integers(1, second - 1))
    path = resolved(consistency_path(first, second))
    assert consistency_holds(first, second, ROOTS[first], ROOTS[second], path)
    rewritten = of_leaf(b"another log")
    assert not consistency_holds(first, second, rewritten, ROOTS[second], path)
    assert not consistency_holds(first, second, ROOTS[first], rewritten, path)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        altered = [*path[:place], of_leaf(path[place]), *path[place + 1 :]]
        assert not consistency_holds(first, second, ROOTS[first], ROOTS[second], altered)
