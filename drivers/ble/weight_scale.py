"""Weight Scale Profile, service 181D: a scale's weights, and its body composition where it has one.

The codecs are those of weight_measurement.py, body_composition.py and user_data.py.
"""

from __future__ import annotations

from drivers.ble.body_composition import characteristics

__all__ = ["RECORDS", "SERVICES", "characteristics"]

SERVICES = ("181D",)

# What a session subscribes to: the first must be there, the others may.
RECORDS = ("2A9D", "2A9C")
