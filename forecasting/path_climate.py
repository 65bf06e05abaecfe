"""What a day's temperatures usually are: hour by hour at its season, as a whole, and in the course they take.

A day is 24 hourly means. As a whole it is a point in the cloud of all days. Its course is what is left of it once the
straight line from the evening before to its own end is taken off: warming by day and cooling by night, whatever the air that
came in. Courses make no ellipse, so a course is held against the nearest ones that were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
from scipy.ndimage import maximum_filter1d

from data.schema import Array
from forecasting.season_cloud import SeasonCloud, day_of_year

HOURS = 24
EVENING_HOURS = 3
WHOLE_DIRECTIONS, COURSE_DIRECTIONS = 5, 4
# Not the nearest: one odd day, or one that was tampered with, opens no door.
NEIGHBOUR = 3
# A season's own: so many days before and after, an hour before and after.
SEASON_DAYS, SEASON_HOURS = 30, 1
LONGEST_YEAR = 366


@dataclass(frozen=True)
class PathClimate:
    """whole, course: see above; lowest_c, highest_c: of what was measured around each hour of each day of the year, shape
    (366, 24) [°C]; courses: of the measured days, shape (days, directions).
    """

    whole: SeasonCloud
    course: SeasonCloud
    lowest_c: Array
    highest_c: Array
    courses: Array

    @classmethod
    def learn(cls, days: Sequence[date], hourly_c: Array, evening_c: Array) -> Self:
        """From the hourly means of whole days, shape (days, 24), and of the evening before each, shape (days,); NaN where it
        is not known [°C].
        """
        whole = SeasonCloud.learn(days, hourly_c, WHOLE_DIRECTIONS)
        bent = _bent(hourly_c, evening_c)
        course = SeasonCloud.learn(days, bent, COURSE_DIRECTIONS)
        return cls(whole, course, -_highest(days, -hourly_c), _highest(days, hourly_c), course.points(days, bent)[0])

    def seen_c(self, day: date) -> tuple[Array, Array]:
        """The lowest and the highest that each hour has had at the season of `day` [°C], shape (24,) each."""
        row = day_of_year([day])[0]
        return self.lowest_c[row], self.highest_c[row]

    def beyond(self, days: Sequence[date], hourly_c: Array) -> Array:
        """How far each hour is outside of what its season has had [°C], none below 0, shape (days, 24)."""
        rows = day_of_year(days)
        outside = np.maximum(hourly_c - self.highest_c[rows], self.lowest_c[rows] - hourly_c)
        return np.asarray(np.maximum(outside, 0.0))

    def distance(self, days: Sequence[date], hourly_c: Array) -> tuple[Array, Array]:
        """How far each day as a whole is from the middle of all (Mahalanobis, root mean square), and how rough it is: what
        lies outside the cloud's directions; shape (days,) each.
        """
        along, outside = self.whole.points(days, hourly_c)
        return np.sqrt((along**2).mean(axis=1)), outside

    def course_distance(self, days: Sequence[date], hourly_c: Array, evening_c: Array) -> Array:
        """How far each day's course is from the third nearest that was measured, shape (days,)."""
        asked = self.course.points(days, _bent(hourly_c, evening_c))[0]
        squared = ((asked[:, None, :] - self.courses[None, :, :]) ** 2).sum(axis=2)
        return np.sqrt(np.partition(squared, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1])


def _highest(days: Sequence[date], hourly_c: Array) -> Array:
    """The highest of what was measured around each hour of each day of the year; of all, where a season was not seen."""
    by_day = np.full((LONGEST_YEAR, HOURS), -np.inf)
    np.maximum.at(by_day, day_of_year(days), hourly_c)
    around = maximum_filter1d(by_day, 2 * SEASON_DAYS + 1, axis=0, mode="wrap")
    around = maximum_filter1d(around, 2 * SEASON_HOURS + 1, axis=1, mode="nearest")
    return np.asarray(np.where(np.isfinite(around), around, hourly_c.max(axis=0)))


def _bent(hourly_c: Array, evening_c: Array) -> Array:
    """Each day without the straight line from the evening before to its last hour."""
    start = np.where(np.isfinite(evening_c), evening_c, hourly_c[:, 0])
    share = (np.arange(HOURS) + 0.5) / HOURS
    line = start[:, None] + (hourly_c[:, -1] - start)[:, None] * share
    bent: Array = hourly_c - line
    return bent
