"""How a simulated device bonds: the keys that it keeps, and what it can show to whoever pairs."""

from __future__ import annotations

from collections.abc import Callable

from bumble import hci
from bumble.keys import MemoryKeyStore, PairingKeys
from bumble.pairing import PairingDelegate


class BondKeys(MemoryKeyStore):
    """The keys of one host.

    bumble 0.0.236 answers a legacy re-encryption in the peripheral's role with the central's LTK
    (device.py, get_long_term_key); a real device answers with its own, which is the one in use.
    """

    def other_than(self, address: hci.Address) -> bool:
        """Whether a host is remembered that has another address."""
        return any(name != str(address) for name in self.all_keys)

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Remember this host, and no other."""
        if keys.ltk_central:
            keys.ltk_peripheral = keys.ltk_central
        self.all_keys.clear()
        await super().update(name, keys)


class NoInputNoOutput(PairingDelegate):
    """Can neither show nor ask for anything: Just Works. `allowed`: whether it pairs now.

    `private`: it hands out what resolves its changing addresses.
    """

    def __init__(self, allowed: Callable[[], bool], *, private: bool = False) -> None:
        own = encryption_only = self.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        if private:
            own |= self.KeyDistribution.DISTRIBUTE_IDENTITY_KEY
        super().__init__(self.NO_OUTPUT_NO_INPUT, encryption_only, own)
        self._allowed = allowed

    async def accept(self) -> bool:
        """Say whether it pairs."""
        return self._allowed()


class Display(PairingDelegate):
    """Has a display: `show` is what stands there for whoever pairs."""

    def __init__(self, allowed: Callable[[], bool], show: Callable[[int], None]) -> None:
        encryption_only = self.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        super().__init__(self.DISPLAY_OUTPUT_ONLY, encryption_only, encryption_only)
        self._allowed = allowed
        self._show = show

    async def accept(self) -> bool:
        """Say whether it pairs."""
        return self._allowed()

    async def display_number(self, number: int, digits: int) -> None:  # noqa: ARG002 - bumble's
        """Show the digits."""
        self._show(number)
