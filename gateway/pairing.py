"""`vitals-gateway pair`, the service's side: a person brings a device to this gateway, and sees it read once.

1. Only a device of the configuration is paired: the service does nothing else with it than always, with a person there.
2. An old bond is removed only where the person said so (`anew`).
3. It is done when a reading has come. A refusal is told in words, and waited over: pairing modes are short.
4. A reading that the chart could use is a test's while somebody pairs (ble_session.py, law 6), and is shown with its
   values, so that they can be held against the display. One that is held or stored may be a patient's: no value is
   shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from drivers.contract import Identity, Notice
from drivers.errors import LinkError, LinkFault
from drivers.links.bluez_agent import PASSKEY_DIGITS, Person
from drivers.links.radio import Radio
from gateway.ble_supervisor import BleSupervisor
from gateway.reading import Disposition, Mode, Reading

PATIENCE_S = 300.0

_MEANS: Mapping[LinkFault, str] = {
    LinkFault.PAIRING_REFUSED: (
        "The device did not pair. It was not in pairing mode, or is bonded to another host (a telephone with the"
        " maker's app, another room), or the digits were wrong. Bring it into pairing mode again"
    ),
    LinkFault.BOND_LOST: (
        "This gateway has a bond that the device has forgotten (new batteries, another host). Stop this and start it"
        " again with --anew: the old bond is then removed"
    ),
    LinkFault.NOT_CONNECTED: "The device was heard and was gone. Keep it near, and in pairing mode",
    LinkFault.LINK_LOST: "The link was lost. Keep the device near, and in pairing mode",
    LinkFault.NOT_THIS_MODEL: "The device has not what this model has: is it the model of the configuration?",
}
_STEPS = {
    "connected": "Connected",
    "bonding": "Pairing",
    "bonded": "Paired: the bond is there",
    "listening": "Listening. Take a measurement with it now, on yourself",
}


class Asked(Protocol):
    """Whoever asked for a pairing: gateway/control.py's Dialog."""

    async def tell(self, **members: object) -> None:
        """Say one line."""
        ...

    async def ask(self, **members: object) -> dict[str, Any]:
        """Say one line and answer the reply."""
        ...


class Pairing:
    """Pairs one device at a time, as a dialog of the control socket."""

    def __init__(self, radio: Radio) -> None:
        """`supervisors` by the devices' addresses, upper case; `only_heard`: the addresses of those that need none."""
        self.supervisors: Mapping[str, BleSupervisor] = {}
        self.only_heard: Collection[str] = ()
        self.busy_with: str | None = None  # the address that is being paired
        self._radio = radio

    async def converse(self, question: dict[str, Any], dialog: Asked) -> None:
        """Walk the person at the other end of `dialog` through it. Raises ConnectionError when they are gone."""
        address, model = str(question.get("address", "")).upper(), question.get("model")
        supervisor = self.supervisors.get(address)
        if address in self.only_heard:
            await dialog.tell(error="this device is only heard: there is nothing to pair. Use it, and see: status")
        elif supervisor is None:
            known = ", ".join(self.supervisors) or "none"
            words = "add the device to the configuration, systemctl reload vitals-gateway, and pair then"
            await dialog.tell(error=f"no device of the configuration has this address (it knows: {known}): {words}")
        elif model is not None and model != supervisor.standing.device.model_name:
            is_model = supervisor.standing.device.model_name
            await dialog.tell(error=f"the device with this address is a {is_model} in the configuration: correct one")
        elif supervisor.trials.is_taken:
            await dialog.tell(error="somebody certifies this device now: wait until that is done")
        elif self.busy_with is not None:
            await dialog.tell(error="another device is being paired now: wait until that is done")
        else:
            self.busy_with = address
            try:
                await self._pair(self._radio, supervisor, address, dialog, anew=bool(question.get("anew")))
            finally:
                self.busy_with = None

    async def _pair(self, radio: Radio, supervisor: BleSupervisor, address: str, dialog: Asked, *, anew: bool) -> None:
        story = _Story(dialog)
        try:
            async with asyncio.timeout(PATIENCE_S), radio.attended(address, story):
                if anew:
                    await self._forget(radio, address, dialog)
                await dialog.tell(step="waiting", text=_how(supervisor))
                with supervisor.observed(story):
                    await story.tell_until_read()
        except TimeoutError:
            words = f"nothing more came for {PATIENCE_S:.0f} s: begin again, with the device near and in pairing mode"
            await dialog.tell(failed=True, text=words)
        except LinkError as error:
            await dialog.tell(failed=True, text=str(error))

    async def _forget(self, radio: Radio, address: str, dialog: Asked) -> None:
        try:
            await radio.forget(address)
        except LinkError:
            await dialog.tell(step="forgotten", text="There was no old bond to remove")
        else:
            await dialog.tell(step="forgotten", text="The old bond is removed")


class _Story(Person):
    """What happens, in order, for the person; and their answers. Hears the supervisor (Observer)."""

    def __init__(self, dialog: Asked) -> None:
        self._dialog = dialog
        self._lines: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._last_failure: LinkFault | None = None

    async def tell_until_read(self) -> None:
        """Tell what happens until a reading has come."""
        while True:
            line = await self._lines.get()
            await self._dialog.tell(**line)
            if "done" in line:
                return

    # ---- what the supervisor tells -------------------------------------------------------------------------------

    def step(self, step: str) -> None:
        """Hear how far the session is."""
        self._last_failure = None
        self._say(step=step, text=_STEPS[step])

    def identity(self, identity: Identity) -> None:
        """Hear who the device says that it is."""
        words = ", ".join(f"{name} {said!r}" for name, said in _said(identity).items())
        self._say(step="identity", text=f"It says of itself: {words}", **_said(identity))

    def notice(self, notice: Notice) -> None:
        """Hear what is no reading."""
        self._say(step="notice", code=notice.code, text=f"No reading: {notice.detail or notice.code}")

    def reading(self, reading: Reading) -> None:
        """Hear of the reading that proves it."""
        usable = reading.disposition is Disposition.USABLE
        own = usable and reading.mode is not Mode.REAL
        vitals = [
            {"kind": vital.kind, **({"value": str(vital.value), "unit": vital.unit} if own else {})}
            for vital in reading.vitals
        ]
        words = "It reads; this one is held for staff"
        if usable:
            words = "It reads, as a test that reaches no chart" if own else "It reads; this one was stored before"
        self._say(
            done=True,
            text=words,
            id=str(reading.id),
            vitals=vitals,
            mode=reading.mode.value,
            reasons=list(reading.reasons),
        )

    def failed(self, error: LinkError) -> None:
        """Hear why there is no link; the same reason is told once."""
        if error.fault is not self._last_failure:
            self._last_failure = error.fault
            self._say(step=error.fault.value, text=_MEANS.get(error.fault, str(error)))

    def _say(self, **line: object) -> None:
        self._lines.put_nowait(line)

    # ---- what bluetoothd asks ------------------------------------------------------------------------------------

    async def passkey(self) -> int | None:
        """Ask for the digits that the device shows."""
        said = await self._dialog.ask(ask="passkey", text="The device shows digits. Enter them")
        digits = str(said.get("passkey", "")).strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= PASSKEY_DIGITS else None

    async def show(self, passkey: int) -> None:
        """Show the digits that are to be entered at the device."""
        await self._dialog.tell(show=f"{passkey:06}", text=f"Enter these digits at the device: {passkey:06}")

    async def agrees(self, passkey: int) -> bool:
        """Ask whether the device shows the same digits."""
        said = await self._dialog.ask(
            ask="confirm", text=f"Does the device show {passkey:06}?", passkey=f"{passkey:06}"
        )
        return said.get("confirm") is True


def _how(supervisor: BleSupervisor) -> str:
    model = supervisor.standing.device.model
    if "bond" not in model.session.steps:
        return "This model needs no bond. Take a measurement with it now, on yourself"
    return f"Bring the device into pairing mode, near this gateway. {model.pairing}".rstrip()


def _said(identity: Identity) -> dict[str, str]:
    told = {"maker": identity.maker, "model": identity.model, "serial": identity.serial, "firmware": identity.firmware}
    return {name: text for name, text in told.items() if text is not None}
