"""LightGBM model text, read as a stranger's: refused unless it is exactly what our own trees are written as.

LightGBM's parser aborts the process, reads beyond its arrays or never returns when a text is malformed (AML.T0018,
AML.T0029): it believes counts, sizes, children and numbers as they stand. Here every byte has to be accounted for by an
allow-list, in order; then every tree has to be one: each node and each leaf is reached from the root, once. This proves that
a text is harmless to parse, not that it is the one that was trained: for that there is the signature.

What the parser does with each line is in LightGBM's src/boosting/gbdt_model_text.cpp and src/io/tree.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from data.schema import Flags, Integers
from forecasting.errors import ModelFileRefused

BOOSTER = "booster.txt"
LARGEST_BYTES = 32 * 1024**2
MOST_TREES = 10_000
MOST_LEAVES = 4096
# LightGBM walks through a tree by recursion as soon as it is read.
DEEPEST = 64
MOST_PARAMETERS = 256

# Numbers as LightGBM writes them: none infinite, and all so small (below 1e47) that no sum of trees is. Every quantifier is
# possessive, so that reading takes time in proportion to the length, whatever is read.
INTEGER = rb"(?:0|[1-9]\d{0,8}+)"
COUNT = rb"[1-9]\d{0,8}+"
NUMBER = rb"-?+(?:0|[1-9]\d{0,16}+)(?:\.\d{1,24}+)?+(?:e(?:-\d\d|-[12]\d\d|-30[0-7]|\+[0-2]\d)(?!\d))?+"
# Infinity parts everything from what is missing.
THRESHOLD = rb"(?:inf|" + NUMBER + rb")"
# Missing values go left or right, and are NaN or not expected: neither categories, nor zeros that stand for missing.
DECISION = rb"(?:10|[028])"
RANGE = rb"(?:none|\[" + NUMBER + rb":" + NUMBER + rb"\])"
PARAMETER = re.compile(rb"\[([a-z][a-z0-9_]{0,63}+): (?:" + NUMBER + rb"|(?!nan\]|inf\])[a-z][a-z0-9_]{0,31}+|)\]\n")
END = b"\nend of parameters\n\npandas_categorical:null\n"


def _some(item: bytes, name: str) -> bytes:
    """A list under a name: one space between two items and none around them."""
    return rb"(?P<" + name.encode() + rb">" + item + rb"(?: " + item + rb")*+)"


OF_NODE = {
    "split_feature": INTEGER,
    "split_gain": NUMBER,
    "threshold": THRESHOLD,
    "decision_type": DECISION,
    "left_child": rb"-?+" + INTEGER,
    "right_child": rb"-?+" + INTEGER,
}
OF_LEAF = {"leaf_value": NUMBER, "leaf_weight": NUMBER, "leaf_count": COUNT}
OF_NODE_INSIDE = {"internal_value": NUMBER, "internal_weight": NUMBER, "internal_count": COUNT}
LISTS = OF_NODE | OF_LEAF | OF_NODE_INSIDE
FIRST_LINES = (rb"Tree=(?P<number>" + INTEGER + rb")", rb"num_leaves=(?P<num_leaves>[1-9]\d{0,3}+)", rb"num_cat=0")
LAST_LINES = (rb"is_linear=0", rb"shrinkage=" + NUMBER, rb"", rb"")
TREE_LINES = (
    *FIRST_LINES,
    *(name.encode() + rb"=" + _some(item, name) for name, item in LISTS.items()),
    *LAST_LINES,
)
# A tree that found nothing to split: one leaf, for everything.
ONE_LEAF = {"leaf_value": NUMBER, "leaf_count": INTEGER}
ONE_LEAF_LINES = (*FIRST_LINES, *(name.encode() + rb"=" + ONE_LEAF.get(name, rb"") for name in LISTS), *LAST_LINES)
TREE, ONE_LEAF_TREE = (re.compile(rb"\n".join(lines) + rb"\n") for lines in (TREE_LINES, ONE_LEAF_LINES))


@dataclass(frozen=True)
class Place:
    """Where something is wrong: a file, the text in it, a byte of that, and perhaps the tree it belongs to."""

    part: str
    text: bytes
    at: int
    tree: int | None = None

    def refused(self, problem: str) -> ModelFileRefused:
        """The refusal, with the tree and the line."""
        line = self.text.count(b"\n", 0, self.at) + 1
        tree = "" if self.tree is None else f"tree {self.tree}, "
        return ModelFileRefused(problem, part=f"{self.part}, {tree}line {line}")


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees, one after the other.

    begin: the byte each tree begins at; leaves: of each tree; feature, left, right: of each node. A child is a node of the
    same tree, or a leaf, counted -1, -2, …
    """

    begin: Integers
    leaves: Integers
    feature: Integers
    left: Integers
    right: Integers


def validate_model_text(text: bytes, *, features: int, trees: int | None = None, part: str = BOOSTER) -> None:
    """Refuse any text that LightGBM's parser might not survive, and any but regression or quantile trees over numbers.

    features: how many columns the model must ask for; trees: how many it must have, None for any number; part: the file's
    name, for the refusal. Raises ModelFileRefused with the tree and the line.
    """
    if len(text) > LARGEST_BYTES:
        raise ModelFileRefused(f"{len(text):,} bytes, at most {LARGEST_BYTES:,} are read", part=part)
    sizes, begin = _read_header(Place(part, text, 0), features)
    if len(sizes) > MOST_TREES or (trees is not None and len(sizes) != trees):
        raise ModelFileRefused(f"{len(sizes):,} trees instead of {trees or f'at most {MOST_TREES:,}'}", part=part)
    found = _read_trees(text, begin, sizes, part)
    place = Place(part, text, begin)
    _require_binary_trees(found, place)
    _require_features(found, features, place)
    _require_trailer(Place(part, text, begin + sum(sizes)), np.bincount(found.feature, minlength=features))


def open_booster(text: bytes, *, features: int, part: str = BOOSTER) -> lgb.Booster:
    """The trees of a text, once it is validated. Raises ModelFileRefused."""
    validate_model_text(text, features=features, part=part)
    return lgb.Booster(model_str=text.decode("ascii"))


def _read_header(place: Place, features: int) -> tuple[list[int], int]:
    """The size of each tree in bytes, and the byte after the header."""
    at = _after(
        place,
        (
            rb"tree",
            rb"version=v4",
            rb"num_class=1",
            rb"num_tree_per_iteration=1",
            rb"label_index=0",
            rb"max_feature_idx=%d" % (features - 1),
            rb"objective=(?:regression|quantile)",
            rb"feature_names=" + b" ".join(_names(features)),
            rb"feature_infos=" + RANGE + rb"(?: " + RANGE + rb"){%d}+" % (features - 1),
        ),
    )
    end = _after(Place(place.part, place.text, at), (rb"tree_sizes=" + COUNT + rb"(?: " + COUNT + rb")*+", rb""))
    return [int(size) for size in place.text[at + len(b"tree_sizes=") : end].split()], end


def _after(place: Place, lines: Sequence[bytes]) -> int:
    """The byte after these lines, each given as a pattern."""
    at = place.at
    for line in lines:
        found = re.compile(line + rb"\n").match(place.text, at)
        if found is None:
            told = place.text[at : at + 40].split(b"\n")[0].decode("ascii", "replace")
            raise Place(place.part, place.text, at, place.tree).refused(f"{told!r} is not what LightGBM writes there")
        at = found.end()
    return at


def _names(features: int) -> list[bytes]:
    return [b"Column_%d" % number for number in range(features)]


def _read_trees(text: bytes, begin: int, sizes: Sequence[int], part: str) -> Trees:
    """Each tree must fill its stated size to the byte, and have as many values in each list as it has nodes or leaves."""
    begins = begin + np.cumsum([0, *sizes[:-1]])
    leaves: list[int] = []
    kept: dict[str, list[bytes]] = {"split_feature": [], "left_child": [], "right_child": []}
    for number, (at, size) in enumerate(zip(begins.tolist(), sizes, strict=True)):
        place = Place(part, text, at, number)
        found = TREE.fullmatch(text, at, at + size)
        if found is None:
            found = ONE_LEAF_TREE.fullmatch(text, at, at + size)
            if found is None:
                end = _after(place, TREE_LINES)
                raise place.refused(f"it has {end - at} bytes instead of the {size} that tree_sizes states")
        values = found.groupdict()
        count = int(values["num_leaves"])
        if int(values["number"]) != number or count > MOST_LEAVES:
            raise place.refused(f"tree {int(values['number'])} with {count:,} leaves")
        if (count == 1) != (found.re is ONE_LEAF_TREE):
            raise place.refused(f"lists that do not belong to {count} leaves")
        leaves.append(count)
        if count > 1:
            _require_lengths(values, count, place)
            for name, lists in kept.items():
                lists.append(values[name])
    feature, left, right = (np.array(b" ".join(lists).split(), dtype=np.int64) for lists in kept.values())
    return Trees(begins, np.array(leaves, dtype=np.int64), feature, left, right)


def _require_lengths(values: dict[str, bytes], leaves: int, place: Place) -> None:
    for name in LISTS:
        wanted = leaves if name in OF_LEAF else leaves - 1
        if values[name].count(b" ") + 1 != wanted:
            raise place.refused(f"{name} has {values[name].count(b' ') + 1} values, not {wanted}")


def _require_binary_trees(trees: Trees, place: Place) -> None:
    """Every node but the root and every leaf is some node's child, once; children come later than their parents.

    LightGBM numbers nodes as they are split, so a child that comes earlier is no tree of its own, and can be a circle.
    """
    nodes = trees.leaves - 1
    tree = np.repeat(np.arange(len(nodes)), nodes)
    first_node = (np.cumsum(nodes) - nodes)[tree]
    own = np.arange(len(tree)) - first_node
    for child in (trees.left, trees.right):
        good = (child < nodes[tree]) & (child >= -trees.leaves[tree]) & ((child < 0) | (child > own))
        _require(good, tree, trees, place, "a child that is no later node and no leaf")
    # Each tree's leaves and nodes in one row, the last leaf first: -1 is the place before the root's.
    rows = np.cumsum(trees.leaves + nodes) - nodes
    reached = np.bincount(np.concatenate([rows[tree] + child for child in (trees.left, trees.right)]), minlength=1)
    for child in (trees.left, trees.right):
        _require(reached[rows[tree] + child] == 1, tree, trees, place, "a node or leaf with two parents")
    parent = np.arange(len(tree))
    for child in (trees.left, trees.right):
        inner = child > 0
        parent[(first_node + child)[inner]] = np.flatnonzero(inner)
    above = parent
    for _ in range(DEEPEST - 2):
        if (above == first_node).all():
            return
        above = parent[above]
    _require(above == first_node, tree, trees, place, f"more than {DEEPEST} nodes on the way to a leaf")


def _require_features(trees: Trees, features: int, place: Place) -> None:
    tree = np.repeat(np.arange(len(trees.leaves)), trees.leaves - 1)
    _require(trees.feature < features, tree, trees, place, f"a split by a feature beyond the {features}")


def _require(good: Flags, tree: Integers, trees: Trees, place: Place, problem: str) -> None:
    """Raises for the first node that is not good."""
    if not good.all():
        number = int(tree[int(np.argmin(good))])
        raise Place(place.part, place.text, int(trees.begin[number]), number).refused(problem)


def _require_trailer(place: Place, splits: Integers) -> None:
    """What follows the trees: how often each feature is split by, counted again; parameters, which no forecast reads."""
    order = sorted(np.flatnonzero(splits).tolist(), key=lambda number: -int(splits[number]))
    importances = tuple(rb"Column_%d=%d" % (number, splits[number]) for number in order)
    at = _after(place, (rb"end of trees", rb"", rb"feature_importances:", *importances, rb"", rb"parameters:"))
    seen: set[bytes] = set()
    while found := PARAMETER.match(place.text, at):
        if found[1] in seen or len(seen) == MOST_PARAMETERS:
            raise Place(place.part, place.text, at).refused("a parameter twice, or one too many")
        seen.add(found[1])
        at = found.end()
    if place.text[at:] != END:
        raise Place(place.part, place.text, at).refused("neither a parameter nor the end")
