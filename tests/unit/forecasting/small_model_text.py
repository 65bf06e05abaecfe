"""Small model texts: what LightGBM writes of a few trees, and trees written by hand, for those it would never grow."""

from __future__ import annotations

from functools import lru_cache

import lightgbm as lgb
import numpy as np

from data.schema import Single
from forecasting.lightgbm_member import BOOSTING

FEATURES = 4
TREES = 5


def rows(count: int = 800) -> Single:
    """Of four features: one with gaps, one that never moves."""
    made = np.random.default_rng(1).normal(size=(count, FEATURES)).astype(np.float32)
    made[::7, 0] = np.nan
    made[:, 3] = 1.0
    return made


@lru_cache
def model_text(objective: str = "regression", trees: int = TREES) -> bytes:
    """Trees on `rows`. Another objective than `regression` is `quantile`, at 0.1."""
    table = rows()
    target = np.nan_to_num(table[:, 0]) + table[:, 1] * np.abs(table[:, 2])
    settings = {**BOOSTING, "objective": objective, "alpha": 0.1, "feature_fraction": 1.0, "seed": 1}
    text: str = lgb.train(settings, lgb.Dataset(table, target, params=settings), trees).model_to_string()
    return text.encode()


def written(*trees: tuple[list[int], list[int]], features: int = FEATURES) -> bytes:
    """A whole text around trees given as their left and right children; every split is by the first feature."""
    blocks = [_tree(number, left, right) for number, (left, right) in enumerate(trees)]
    nodes = sum(len(left) for left, _ in trees)
    head = [
        *(
            "tree",
            "version=v4",
            "num_class=1",
            "num_tree_per_iteration=1",
            "label_index=0",
            f"max_feature_idx={features - 1}",
        ),
        "objective=regression",
        "feature_names=" + " ".join(f"Column_{number}" for number in range(features)),
        "feature_infos=" + " ".join(["[-1:1]"] * features),
        "tree_sizes=" + " ".join(str(len(block)) for block in blocks),
    ]
    tail = (
        f"end of trees\n\nfeature_importances:\nColumn_0={nodes}\n\nparameters:\n[boosting: gbdt]\n\nend of parameters\n\n"
    )
    return ("\n".join(head) + "\n\n" + "".join(blocks) + tail + "pandas_categorical:null\n").encode()


def chain(nodes: int) -> tuple[list[int], list[int]]:
    """The deepest tree there is: every right child but the last is the next node."""
    return [-1 - node for node in range(nodes)], [*range(1, nodes), -1 - nodes]


def _tree(number: int, left: list[int], right: list[int]) -> str:
    nodes = len(left)

    def same(value: str, count: int) -> str:
        return " ".join([value] * count)

    lines = [
        *(f"Tree={number}", f"num_leaves={nodes + 1}", "num_cat=0", "split_feature=" + same("0", nodes)),
        *("split_gain=" + same("1", nodes), "threshold=" + same("0.5", nodes), "decision_type=" + same("2", nodes)),
        *("left_child=" + " ".join(map(str, left)), "right_child=" + " ".join(map(str, right))),
        *("leaf_value=" + same("1", nodes + 1), "leaf_weight=" + same("1", nodes + 1), "leaf_count=" + same("1", nodes + 1)),
        *("internal_value=" + same("1", nodes), "internal_weight=" + same("1", nodes), "internal_count=" + same("2", nodes)),
        *("is_linear=0", "shrinkage=1"),
    ]
    return "\n".join(lines) + "\n\n\n"
