"""What can go wrong between a device and us, and whose fault it was.

Codecs raise none of these: what they cannot read is an event (`Rejected`). These are about links.
"""

from __future__ import annotations

from enum import StrEnum


class LinkFault(StrEnum):
    """Why a link is not there, told apart because each has another cure."""

    PORT_ABSENT = "port_absent"
    PORT_BUSY = "port_busy"
    PORT_DENIED = "port_denied"
    NOT_A_PORT = "not_a_port"
    UNPLUGGED = "unplugged"
    STUCK = "stuck"
    NO_BLUETOOTH = "no_bluetooth"
    NO_ADAPTER = "no_adapter"
    ADAPTER_OFF = "adapter_off"
    SCAN_FAILED = "scan_failed"
    RADIO_DEAF = "radio_deaf"
    NOT_CONNECTED = "not_connected"
    LINK_LOST = "link_lost"
    NO_ANSWER = "no_answer"
    PAIRING_REFUSED = "pairing_refused"
    BOND_LOST = "bond_lost"
    DEVICE_REFUSED = "device_refused"
    NOT_THIS_MODEL = "not_this_model"
    CONSENT_REFUSED = "consent_refused"


class LinkError(Exception):
    """A link failed; `fault` says how and `str()` says what to do, in words for IT."""

    def __init__(self, fault: LinkFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class LinkLost(LinkError):
    """The link is not there, or is there no more: try again later."""


class LinkTimeout(LinkError):
    """The link is there and does not move: close it, then try again."""


class DeviceRefused(LinkError):
    """The link is there and the device says no: asking again the same way changes nothing."""
