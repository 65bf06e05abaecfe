"""A Merkle tree over a list that only grows: its root names the whole list, a short path shows one leaf or one growth.

Hashes are raw 32-byte SHA-256. Leaves are numbered from 1; leaf `n` completes the subtrees of 1, 2, 4, … leaves that end
at `n`, one for each factor two in it, so (n, level) names a complete subtree of 2**level leaves. A tree of any size
is a row of complete subtrees, its peaks, one for each bit of the size, the largest first.

Source: RFC 6962 section 2.1 (tree hash), 2.1.1 (inclusion), 2.1.2 (consistency); verification is in RFC 9162 sections
2.1.3.2 and 2.1.4.2, and needs nothing of this file.
"""

from __future__ import annotations

from functools import reduce
from hashlib import sha256

# A leaf can never pass for a node (second preimages).
_LEAF, _NODE = b"\x00", b"\x01"

Subtree = tuple[int, int]
Range = tuple[int, int]


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return sha256(_NODE + left + right).digest()


def root_of(peaks: list[bytes]) -> bytes:
    """The tree hash, from the hashes of the peaks, largest first; of the empty tree, the hash of nothing."""
    if not peaks:
        return sha256(b"").digest()
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks))


def add_leaf(peaks: list[bytes], leaf: bytes, size: int) -> list[bytes]:
    """Add a leaf to `peaks`, in place, after which the tree has `size` leaves.

    Answers the hashes of the subtrees that it completes: itself, then of 2, 4, … leaves.
    """
    completed = [leaf]
    for _ in range(levels_ending_at(size)):
        completed.append(node_hash(peaks.pop(), completed[-1]))
    peaks.append(completed[-1])
    return completed


def levels_ending_at(leaf: int) -> int:
    """How many levels above the leaf itself are completed by leaf number `leaf`: the factors two in it."""
    return (leaf & -leaf).bit_length() - 1


def peaks_of(size: int) -> list[Subtree]:
    """The complete subtrees that a tree of `size` leaves is made of, largest first."""
    return complete_parts((0, size))


def complete_parts(leaves: Range) -> list[Subtree]:
    """The same of the leaves `start + 1 … end`, where `start` is where a subtree of a tree begins."""
    start, end = leaves
    parts = []
    for level in reversed(range((end - start).bit_length())):
        if (end - start) >> level & 1:
            start += 1 << level
            parts.append((start, level))
    return parts


def inclusion_path(leaf: int, size: int) -> list[Range]:
    """The ranges of leaves whose hashes show that `leaf` stands in the tree of `size`, the nearest first.

    Raises ValueError unless 1 ≤ leaf ≤ size.
    """
    if not 1 <= leaf <= size:
        raise ValueError(f"leaf {leaf} does not stand in a tree of {size}")
    return _path(leaf, (0, size))


def consistency_path(first: int, second: int) -> list[Range]:
    """The ranges of leaves whose hashes show that the tree of `second` leaves begins with that of `first`.

    Raises ValueError unless 1 ≤ first ≤ second.
    """
    if not 1 <= first <= second:
        raise ValueError(f"a tree of {second} leaves does not grow out of one of {first}")
    return _subproof(first, (0, second), known=True)


def _path(leaf: int, leaves: Range) -> list[Range]:
    start, end = leaves
    if end - start == 1:
        return []
    middle = start + _half(end - start)
    if leaf <= middle:
        return [*_path(leaf, (start, middle)), (middle, end)]
    return [*_path(leaf, (middle, end)), (start, middle)]


def _subproof(first: int, leaves: Range, *, known: bool) -> list[Range]:
    """`first` counts from the tree's beginning; `known`: the verifier has the hash of `first` leaves already."""
    start, end = leaves
    if first == end:
        return [] if known else [leaves]
    middle = start + _half(end - start)
    if first <= middle:
        return [*_subproof(first, (start, middle), known=known), (middle, end)]
    return [*_subproof(first, (middle, end), known=False), (start, middle)]


def _half(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
