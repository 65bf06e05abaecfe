"""Broken LightGBM texts: ways to spoil a model text, each as an accident, an attacker or a fuzzer would.

A mutation takes a text and a source of chance, and answers another text. Half of the mutants get their `tree_sizes` made
true again: an attacker would, and LightGBM finds the trees by them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

Mutation = Callable[[bytes, random.Random], bytes]

STRANGE = (
    *(
        b"1e999",
        b"-1e999",
        b"1e308",
        b"nan",
        b"inf",
        b"-inf",
        b"99999999999",
        b"-99999999999",
        b"2147483647",
        b"-2147483648",
    ),
    *(b"4294967295", b"0x10", b"1_000", b"01", b"+1", b".5", b"1.", b"1e", b"--1", b"", b" ", b"-", b"1e-999", b"9" * 400),
)
LETTERS = ("é", "１", "\u2028", "\u202e", "\ufeff", "\x00", "\r", "\t", "\x0b", "😀")
LINES = (
    *(
        b"num_cat=1",
        b"num_leaves=2",
        b"num_leaves=100000",
        b"is_linear=1",
        b"leaf_features=0",
        b"leaf_coeff=1",
        b"average_output",
    ),
    *(b"cat_boundaries=0 1", b"cat_threshold=1", b"num_class=3", b"num_tree_per_iteration=7", b"max_feature_idx=1000000"),
    *(
        b"monotone_constraints=1",
        b"objective=lambdarank",
        b"objective=custom",
        b"tree_sizes=1",
        b"Tree=0",
        b"a=b=c",
        b"=",
        b"",
    ),
    *(b"end of trees", b"parameters:", b"end of parameters", b"pandas_categorical:[[[", b"linear_tree=1", b"version=v2"),
)
NUMBER = re.compile(rb"-?\d[\d.e+-]*")


def flipped_bit(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << chance.randrange(8))]) + text[at + 1 :]


def other_byte(text: bytes, chance: random.Random) -> bytes:
    """One byte replaced, put in or taken out."""
    at, new = chance.randrange(len(text)), bytes([chance.randrange(256)])
    return text[:at] + chance.choice((new, new + text[at : at + 1], b"")) + text[at + 1 :]


def other_digit(text: bytes, chance: random.Random) -> bytes:
    """A digit for a digit: the text stays as well formed as it was."""
    at = chance.choice([found.start() for found in re.finditer(rb"\d", text)])
    return text[:at] + b"%d" % chance.randrange(10) + text[at + 1 :]


def truncated(text: bytes, chance: random.Random) -> bytes:
    return text[: chance.randrange(len(text))]


def moved_lines(text: bytes, chance: random.Random) -> bytes:
    """A line deleted, doubled, or changed for another."""
    lines = text.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    done = chance.choice(("deleted", "doubled", "swapped"))
    if done == "deleted":
        del lines[one]
    elif done == "doubled":
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def new_line(text: bytes, chance: random.Random) -> bytes:
    lines = text.split(b"\n")
    lines.insert(chance.randrange(len(lines)), chance.choice(LINES))
    return b"\n".join(lines)


def strange_number(text: bytes, chance: random.Random) -> bytes:
    """A number that is huge, infinite, none, or written otherwise."""
    found = chance.choice(list(NUMBER.finditer(text)))
    return text[: found.start()] + chance.choice(STRANGE) + text[found.end() :]


def other_letter(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(LETTERS).encode() + text[at:]


def other_child(text: bytes, chance: random.Random) -> bytes:
    """A child that is its own parent, comes earlier, is no leaf, or lies outside."""
    return _other_value(
        text, chance, rb"(?:left|right)_child", lambda at, count: (at, 0, at - 1, count, -count - 2, -(10**9))
    )


def other_feature(text: bytes, chance: random.Random) -> bytes:
    """A feature or a kind of decision that there is not."""
    return _other_value(text, chance, rb"(?:split_feature|decision_type)", lambda *_: (-1, 10**6, 2**31 - 1, 1, 255, -128))


def other_length(text: bytes, chance: random.Random) -> bytes:
    """A list with one value more or fewer than its tree has nodes, or none."""
    found = chance.choice(list(re.finditer(rb"\n\w+=([-\d.e+]+(?: [-\d.e+]+)+)\n", text)))
    values = found[1].split(b" ")
    changed = chance.choice((values[:-1], values[1:], [*values, values[0]], values * 2, []))
    return text[: found.start(1)] + b" ".join(changed) + text[found.end(1) :]


def other_count(text: bytes, chance: random.Random) -> bytes:
    """Another number of leaves, features, classes, categories than there are."""
    keys = rb"\n(?:num_leaves|num_cat|max_feature_idx|num_class|num_tree_per_iteration|is_linear)=(\d+)"
    found = chance.choice(list(re.finditer(keys, text)))
    count = int(found[1])
    other = chance.choice((0, 1, count - 1, count + 1, 2 * count, 10**5, 2**31 - 1, -1))
    return text[: found.start(1)] + b"%d" % other + text[found.end(1) :]


def other_size(text: bytes, chance: random.Random) -> bytes:
    """A lie about a tree's size, or about how many trees there are."""
    begin = text.index(b"tree_sizes=") + len(b"tree_sizes=")
    end = text.index(b"\n", begin)
    sizes = [int(size) for size in text[begin:end].split()]
    at = chance.randrange(len(sizes))
    size = sizes[at]
    changed = chance.choice(
        ([size - 1], [size + 1], [0], [2 * size], [10**9], [2**63], [2**64 - 1], [size, size], [], [size, 10**6], [-1])
    )
    return text[:begin] + b" ".join(b"%d" % size for size in [*sizes[:at], *changed, *sizes[at + 1 :]]) + text[end:]


def _other_value(text: bytes, chance: random.Random, key: bytes, others: Callable[[int, int], tuple[int, ...]]) -> bytes:
    """others: what a value may become, for its place and the number of values."""
    found = chance.choice(list(re.finditer(rb"\n" + key + rb"=([-\d ]+)\n", text)))
    values = found[1].split(b" ")
    at = chance.randrange(len(values))
    values[at] = b"%d" % chance.choice(others(at, len(values)))
    return text[: found.start(1)] + b" ".join(values) + text[found.end(1) :]


MUTATIONS: Mapping[str, Mutation] = {
    "bit flipped": flipped_bit,
    "byte edited": other_byte,
    "digit changed": other_digit,
    "truncated": truncated,
    "lines moved": moved_lines,
    "line put in": new_line,
    "strange number": strange_number,
    "strange letter": other_letter,
    "other child": other_child,
    "other feature": other_feature,
    "list too long or short": other_length,
    "counts that lie": other_count,
    "tree_sizes that lie": other_size,
}


def with_true_sizes(text: bytes) -> bytes:
    """The same with `tree_sizes` as the trees are; unchanged where there are none to be found."""
    starts = [found.start() + 1 for found in re.finditer(rb"\nTree=", text)]
    header = re.search(rb"\ntree_sizes=[^\n]*", text)
    end = text.find(b"\nend of trees") + 1
    if not starts or header is None or end <= starts[-1]:
        return text
    sizes = [after - start for start, after in zip(starts, [*starts[1:], end], strict=True)]
    line = b"\ntree_sizes=" + b" ".join(b"%d" % size for size in sizes)
    return text[: header.start()] + line + text[header.end() :]


def mutant(text: bytes, kind: str, chance: random.Random) -> bytes:
    """A text spoilt in one way once, now and then twice, every second time with true sizes."""
    for _ in range(1 + (chance.random() < 0.2)):
        text = MUTATIONS[kind](text, chance)
    return with_true_sizes(text) if kind != "tree_sizes that lie" and chance.random() < 0.5 else text
