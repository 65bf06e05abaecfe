"""The schemas that the database has had, oldest first: `versions` holds one file for each step, up and down.

A step says what it does in words of its own and imports no table of today, which may have another form tomorrow.
"""

from __future__ import annotations

# What this code works on; a test holds it to the newest file of `versions`.
NEWEST = "0002"
