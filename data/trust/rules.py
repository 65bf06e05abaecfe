"""Every threshold of the weather watch, with its unit and the reason for its size.

None was fitted to the years the benchmarks judge on: sizes follow physics, the published spread of real neighbouring
stations, or the attack sizes the watch is built to meet (docs/weather-trust.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import DataError
from data.schema import MILD_C

FEWEST_BASELINE_DAYS = 56


@dataclass(frozen=True)
class TrustRules:
    """How strict the watch is. Temperatures [°C], spans in hours or local days, evidence in nats (natural log units)."""

    baseline_days: int = 365
    """Days at the start in which every source is trusted and everything is learned; nobody is judged in them."""

    regimes_c: tuple[float, float] = MILD_C
    """Below the first a regime is cold, above the second warm, between them mild."""

    accuse_at: float = 12.0
    """Evidence [nats] that a source lies from which it can be quarantined: e^12 to one for one lie at one moment."""

    suspect_at: float = 6.0
    """Evidence, on the scale where `accuse_at` is 10, that makes a source a suspect; below half of it, trusted again."""

    calm_factor: float = 1.3
    """The accusing evidence is at least this multiple of the largest that the baseline's honest days ever gave."""

    most_evidence: float = 22.0
    """However restless its baseline, no source needs more evidence [nats] than this."""

    plain_factor: float = 2.5
    """Evidence that is not drawn in for heavy tails accuses from this multiple on: a gross lie need not wait."""

    lead: float = 5.0
    """How far the likeliest liar's evidence must be ahead of the next one's [nats]: 99 % posterior odds."""

    demand_lead: float = 8.0
    """The same where demand alone tells which of two lies; its own slow changes make it a restless witness."""

    longest_lie_days: int = 90
    """How far back an onset is looked for, and from when on the others are judged anew without an accused source."""

    frozen_hours: float = 8.0
    """The shortest run of one value that can count as frozen; a source that rounds coarsely needs a longer one."""

    repeat_share: float = 0.85
    """Share of 24 hours of readings equal to those of 24 hours before that counts as replayed."""

    gross_c: float = 12.0
    """Further than this from the middle of three or more sources no honest thermometer of one utility is."""

    gross_hours: float = 6.0
    """Hours of gross readings within 24 after which a source is quarantined."""

    frozen_alarm_hours: float = 10.0
    """Hours of frozen readings within 24 after which a source is quarantined."""

    repeat_alarm_hours: float = 1.0
    """Hours of replayed readings within 24 after which a source is quarantined."""

    spike_c: float = 5.0
    """A move against the other sources' move of at least this much, from one reading to the next, is a spike."""

    physics_c: tuple[float, float] = (-90.0, 60.0)
    """Colder and warmer than was ever measured on Earth."""

    climatology_margin_c: float = 8.0
    """Outside the months' range seen so far by more than this a reading is not used, without being an accusation."""

    fewest_known_days: int = 50
    """Days' worth of readings in the baseline below which a source counts as unknown, and is put on probation."""

    def __post_init__(self) -> None:
        if self.baseline_days < FEWEST_BASELINE_DAYS:
            problem = f"a baseline of {self.baseline_days} days teaches too little"
            raise DataError(problem, mend=f"give at least {FEWEST_BASELINE_DAYS} days, best a year")

    @property
    def sees_a_year(self) -> bool:
        """Whether the baseline can teach seasons; without them more wander is expected of the honest."""
        return self.baseline_days >= 300
