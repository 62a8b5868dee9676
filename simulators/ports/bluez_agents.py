"""Who is asked whether a pairing may be (bluez, src/agent.c; bluetoothd 5.66 and later).

1. A client has one agent. The first one registered is the default, until another client asks to be: it goes before
   the others, and when it leaves the next one is the default.
2. A pairing that a read, a write or StartNotify caused is the default agent's to authorize.
3. Device1.Pair needs the agent of its caller, or else the default one, to be there; but for Just Works nobody is asked,
   because the caller has said what it wants (src/device.c, device_confirm_passkey).
"""

from __future__ import annotations

from simulators.ports.bluez_objects import BluezError

_CAPABILITIES = ("", "DisplayOnly", "DisplayYesNo", "KeyboardOnly", "NoInputNoOutput", "KeyboardDisplay")


class Agents:
    """Agents by client. Raises BluezError as bluetoothd answers."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._capabilities: dict[str, str] = {}
        self._order: list[str] = []  # the default first

    @property
    def default(self) -> tuple[str, str] | None:
        """The default agent: its client and its object's path."""
        return (self._order[0], self._paths[self._order[0]]) if self._order else None

    @property
    def capability(self) -> str:
        """What the default agent can do; the empty word is bluetoothd's own default."""
        said = self._capabilities[self._order[0]] if self._order else "NoInputNoOutput"
        return said or "KeyboardDisplay"

    def any_for(self, client: str) -> bool:
        """Whether what `client` asks for has an agent, its own or the default one."""
        return client in self._paths or bool(self._order)

    def register(self, client: str, path: str, capability: str) -> None:
        """One more agent, after those that are there."""
        if client in self._paths:
            raise BluezError("AlreadyExists", "Already Exists")
        if capability not in _CAPABILITIES:
            raise BluezError("InvalidArguments", "Invalid arguments in method call")
        self._paths[client] = path
        self._capabilities[client] = capability
        self._order.append(client)

    def make_default(self, client: str, path: str) -> None:
        """Ask this one first from now on."""
        self._require(client, path)
        self._order.remove(client)
        self._order.insert(0, client)

    def unregister(self, client: str, path: str) -> None:
        """Ask it no more."""
        self._require(client, path)
        self.forget(client)

    def forget(self, client: str) -> None:
        """The client left the bus; nothing if it had no agent."""
        if self._paths.pop(client, None) is not None:
            self._order.remove(client)

    def clear(self) -> None:
        """The daemon died: clients must register again."""
        self._paths.clear()
        self._order.clear()

    def _require(self, client: str, path: str) -> None:
        if self._paths.get(client) != path:
            raise BluezError("DoesNotExist", "Does Not Exist")
