"""The HTTP routes, one file a noun."""

from api.routes import (
    access,
    audit,
    backtests,
    forecasts,
    guard,
    health,
    incidents,
    jobs,
    metrics,
    models,
    promotions,
    providers,
    recoveries,
    retraining,
    snapshots,
    what_if,
)

ROUTERS = tuple(
    module.router
    for module in (
        forecasts,
        what_if,
        models,
        promotions,
        providers,
        retraining,
        recoveries,
        backtests,
        jobs,
        snapshots,
        incidents,
        audit,
        guard,
        access,
        health,
        metrics,
    )
)
