"""POST /v1/what-if."""

from __future__ import annotations

import numpy as np
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from api.guards import Caller, HouseHere, account, guarded_router, needs
from api.query_gate import AskedForecast, AskedWhatIf, ask, question_of, watermark
from api.schemas.what_if import WhatIfAnswer, WhatIfOrder
from pipeline.disguise import disguised
from pipeline.what_if import Considered, answer
from security.permissions import Permission

SERVED, REFUSED = "what_if.served", "what_if.refused"

router = guarded_router("what-if")


@router.post("/v1/what-if", openapi_extra=needs(Permission.READ_FORECAST))
async def ask_what_if(order: WhatIfOrder, house: HouseHere, caller: Caller, request: Request) -> WhatIfAnswer:
    """Forecast a local day under your own temperatures, beside the forecast as it is.

    Temperatures that no day has are refused with the reasons; unusual ones are answered with a wider interval.
    """
    house.serving.require_unlearned(order.day)
    prepared = house.serving.prepared(order.day)
    if prepared is None:
        prepared = await run_in_threadpool(house.serving.prepare, order.day, by=caller.subject)
    prepared.require_unlearned()
    told_c = None if order.temperatures_c is None else np.array(order.temperatures_c, dtype=np.float64)
    considered: Considered = await run_in_threadpool(house.what_ifs.consider, prepared, told_c, order.shift_c or 0.0)
    judgement = considered.judgement
    account(request, action=REFUSED, subject=str(order.day), judgement=judgement.verdict, reasons=list(judgement.reasons))
    # Refusals cost too: a search along the limits of what is believed is no analyst's work.
    asked = AskedWhatIf(order.day, considered.path_c, considered.base_c, len(order.quantiles), considered.strange)
    verdict = await ask(house, request, caller, asked)
    what_if = await run_in_threadpool(answer, considered)
    account(
        request,
        action=SERVED,
        subject=what_if.what_if_id,
        day=str(order.day),
        model=prepared.model.model_id,
        path_sha256=what_if.path_sha256,
        judgement=judgement.verdict,
        widening=round(judgement.widening, 2),
    )
    # The day as it is forecast is shown as /v1/forecasts shows it to this caller: a question without cells costs nothing.
    base = await house.query_guard.judge(caller.subject, caller.role, 0.0, question_of(AskedForecast(order.day), order.day))
    mark = watermark(house, caller, order.day)
    shown_mw, base_mw = (
        disguised(says, verdict.level, seed, mark)
        for says, seed in ((what_if.says, verdict.seed), (prepared.says, base.seed))
    )
    return WhatIfAnswer.of(what_if, shown_mw, base_mw, order.quantiles)
