"""A bundle of format version 1, kept for ever: whatever is written today, this one has to open.

It was made once and is never made again: sealed folder, signed manifest, both statements, wrapped key, golden day. What
opens it lies beside it, in the clear, and opens nothing else.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from forecasting.golden import GOLDEN_JSON, answers, golden_case, require_equal
from pipeline.attest import PREDICATE_TYPES, gates_in, verify_attestations
from pipeline.bundle import BUNDLE_JSON, restore
from pipeline.publish import KIND
from pipeline.trial import try_bundle
from security.bundle_keys import BundleKeys, bundle_context, read_wrapped
from security.operators import read_public_key
from security.sealed_bundle import KEY_FILE, SealedBundle, read_bundle
from security.signing import PublicKey

FIXTURE = Path(__file__).parents[2] / "fixtures" / "bundle_v1"
OPENS_WITH = json.loads((FIXTURE / "opens-with.json").read_text(encoding="utf-8"))
MODEL_ID = OPENS_WITH["model_id"]


def trusted() -> dict[str, PublicKey]:
    return {OPENS_WITH["model_key_id"]: read_public_key(OPENS_WITH["model_key"])}


def opened() -> SealedBundle:
    folder = FIXTURE / MODEL_ID
    keys = BundleKeys.from_secret(base64.b64decode(OPENS_WITH["bundle_keys"]))
    cipher = keys.unwrap(read_wrapped(folder / KEY_FILE), bundle_context(MODEL_ID))
    return read_bundle(folder, MODEL_ID, KIND, tuple(PREDICATE_TYPES), trusted(), cipher)


def test_a_bundle_of_format_1_still_verifies_and_says_so() -> None:
    bundle = opened()
    assert bundle.digest == OPENS_WITH["digest"]
    assert json.loads(bundle.files[BUNDLE_JSON])["format"] == 1


def test_what_was_attested_of_it_still_holds() -> None:
    attested = verify_attestations(opened(), trusted(), "fixture")
    assert [gate.verdict for gate in gates_in(attested)] == ["passed"]
    assert attested.provenance["buildDefinition"]["externalParameters"]["requested_by"] == "fixture"


def test_it_still_gives_its_golden_forecast_here_and_in_a_trial() -> None:
    files = opened().files
    case = golden_case(files[GOLDEN_JSON])
    require_equal(case, answers(restore(files), case))
    require_equal(case, try_bundle(files).answered)
