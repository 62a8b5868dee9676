"""The Security Manager's questions, handed on to an agent as bluetoothd does (bluez src/agent.c, src/device.c).

Which question comes follows from what both sides can do (Core Specification, vol. 3, part H, 2.3.5.1): with a device
that shows digits an agent with a keyboard is asked for them (RequestPasskey); for one with a keyboard it is told what
to show (DisplayPasskey); where both can show and say yes, it is asked whether the digits are the same
(RequestConfirmation). Just Works asks nobody, where the client called Pair.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bumble.pairing import PairingDelegate

Ask = Callable[[str, str, list[Any]], Awaitable[list[Any] | None]]
_Io = PairingDelegate.IoCapability
_CAPABILITIES = {
    "NoInputNoOutput": _Io.NO_OUTPUT_NO_INPUT,
    "DisplayOnly": _Io.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": _Io.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": _Io.KEYBOARD_INPUT_ONLY,
    "KeyboardDisplay": _Io.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}


class AgentDelegate(PairingDelegate):
    """Asks an agent. `ask`: member, signature and arguments beside the device's path; None where it says no."""

    def __init__(self, capability: str, ask: Ask) -> None:
        super().__init__(_CAPABILITIES[capability])
        self._ask = ask

    async def compare_numbers(self, number: int, digits: int) -> bool:  # noqa: ARG002 - bumble's
        """Ask whether the device shows `number`, at six digits."""
        return await self._ask("RequestConfirmation", "u", [number]) is not None

    async def get_number(self) -> int | None:
        """Ask for the digits that the device shows."""
        said = await self._ask("RequestPasskey", "", [])
        return None if said is None else int(said[0])

    async def display_number(self, number: int, digits: int) -> None:  # noqa: ARG002 - bumble's
        """Tell what is to be entered at the device."""
        await self._ask("DisplayPasskey", "uq", [number, 0])
