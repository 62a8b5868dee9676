"""What `vitals-gateway doctor` can say: each case by its name, how bad it is, and what to do. Pure.

docs/it.md has the same table, word for word; a test compares the two. How a device stands has reasons of its own
(drivers/errors.py, standing.py), which stand there, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.terminal import printable

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the page. `code` names the case, "" where all is well; `do` is empty then."""

    check: str
    state: State
    code: str
    detail: str
    do: str = ""

    def lines(self) -> list[str]:
        """Answer it for a terminal."""
        said = f"{self.state:<9}{self.check:<14} {f'{self.code}: ' if self.code else ''}{self.detail}"
        return [printable(said), *([printable(f"{'':<24}do: {self.do}")] if self.do else [])]

    def members(self) -> dict[str, str]:
        """Answer it as JSON has it."""
        return {"check": self.check, "state": self.state, "code": self.code, "detail": self.detail, "do": self.do}


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that can be wrong: with what, how bad it is, what to do."""

    check: str
    state: State
    do: str


CASES: Mapping[str, Case] = {
    "config_bad": Case("configuration", "bad", "vitals-gateway check tells each problem with its line: correct them"),
    "config_doubtful": Case("configuration", "warning", "vitals-gateway check tells each doubt with its line"),
    "service_down": Case(
        "service", "bad", "systemctl start vitals-gateway; journalctl -u vitals-gateway says why it ended"
    ),
    "service_not_asked": Case("service", "warning", "run doctor as root, or in the group vitals-gateway"),
    "config_changed": Case("service", "warning", "systemctl reload vitals-gateway, once check is content"),
    "other_room": Case("service", "warning", "name the file that the service runs with: doctor --config FILE"),
    "version_changed": Case("service", "warning", "systemctl restart vitals-gateway"),
    "does_not_add_up": Case("service", "bad", "a defect in the gateway: vitals-gateway doctor --bundle, and report it"),
    "undervoltage_now": Case("power", "bad", "use the maker's own power supply and a short cable; unplug what is idle"),
    "undervoltage_before": Case("power", "warning", "it may come again: the maker's own power supply, a short cable"),
    "too_hot": Case("power", "bad", "give it air: it works slower, to cool down"),
    "clock_unsynced": Case(
        "clock", "bad", "timedatectl; allow NTP (UDP 123) to a time server; cuffs' readings are held"
    ),
    "clock_holdover": Case("clock", "warning", "is the time server in reach? It is good for a week at most"),
    "clock_past": Case("clock", "bad", "it is older than this program: allow NTP (UDP 123) to a time server"),
    "clock_not_known": Case("clock", "warning", "timedatectl: nothing here can tell whether the clock is right"),
    "disk_read_only": Case("disk", "bad", "journalctl -k says why: a card that fails becomes read-only. Replace it"),
    "disk_full": Case("disk", "bad", "delete what is not needed there: readings soon wait in memory alone"),
    "disk_small": Case("disk", "warning", "free space, or lower outbox.max_mb: the outbox may grow beyond the disk"),
    "no_inodes": Case("disk", "bad", "delete files there: no new one can be made"),
    "no_folder": Case("disk", "bad", "make the folder of outbox.path, and give it to the user vitals-gateway"),
    "outbox_trouble": Case("outbox", "bad", 'docs/it.md, "When the disk fails"'),
    "outbox_worry": Case("outbox", "warning", 'docs/it.md, "When the disk fails"'),
    "outbox_parked": Case("outbox", "warning", "vitals-gateway trace shows why; the broker will never take them"),
    "outbox_waiting": Case("outbox", "warning", "look at the broker, below: nothing is lost as long as they wait"),
    "outbox_unreadable": Case("outbox", "bad", "be root; if it stays so, replace the card. The file is patient data"),
    "outbox_damaged": Case("outbox", "bad", "start the service: it sets the file aside, and saves what is intact"),
    "outbox_newer": Case("outbox", "bad", "install the newer version of vitals-gateway again"),
    "broker_away": Case("broker", "bad", 'as it says; docs/it.md, "The broker"'),
    "broker_refused": Case("broker", "bad", 'as it says; docs/it.md, "The broker"'),
    "broker_one_away": Case("broker", "warning", "another of broker.urls serves meanwhile; as it says"),
    "name_in_use": Case(
        "broker", "bad", "give one of the two another site or room; if ours was killed just now, look again in a minute"
    ),
    "name_not_known": Case("broker", "warning", "let it read vitals/v1/{site}/{room}/gateway, its own state"),
    "certificate_ending": Case("broker", "warning", "renew it; the gateway reads it at its next connection"),
    "publish_refused": Case("broker", "bad", "let this login write there: the broker's access rules (ACL)"),
    "nobody_subscribed": Case("broker", "bad", "the chart is not there: readings wait. Ask its operator"),
    "publish_not_known": Case("broker", "warning", "take a reading and look again: nothing was sent there yet"),
    "subscribe_refused": Case("broker", "warning", "let this login read there: the broker's access rules (ACL)"),
    "no_bluetooth": Case("bluetooth", "bad", "apt install bluez; systemctl status bluetooth"),
    "no_adapter": Case("bluetooth", "bad", "plug the adapter in; bluetoothctl list"),
    "adapter_off": Case("bluetooth", "bad", "bluetoothctl power on"),
    "radio_blocked": Case("bluetooth", "bad", "rfkill unblock bluetooth; a switch on the machine, if it says hard"),
    "bluez_old": Case("bluetooth", "warning", "use Debian 12 or later: 5.66 is the oldest that was tried"),
    "firmware_missing": Case("bluetooth", "warning", "install the package with the adapter's firmware, and start anew"),
    "radio_deaf": Case("bluetooth", "warning", "nobody near has Bluetooth, or the radio hangs: a USB adapter helps"),
    "device_offline": Case("device", "bad", 'as it says; docs/it.md, "When a device does not speak"'),
    "device_not_heard": Case("device", "warning", 'measure once; docs/it.md, "When a device does not speak"'),
    "port_absent": Case("device", "bad", "plug it in, into the socket that the YAML names; ls -l /dev/serial/by-path"),
    "port_denied": Case("device", "bad", "the udev rule gives it to the group vitals-gateway: is it installed?"),
    "port_busy": Case("device", "bad", "end the program that has it open"),
    "not_a_port": Case("device", "bad", "correct port in the YAML"),
    "not_bonded": Case("device", "warning", "vitals-gateway pair --address ADDRESS, with the device in pairing mode"),
    "battery_low": Case("device", "warning", "new batteries"),
    "claimed_twice": Case("device", "bad", "take it out of the YAML of the room where it is not"),
    "brltty": Case("serial", "warning", "apt remove brltty, then unplug the adapter and plug it in again"),
    "modem_manager": Case("serial", "warning", "install 60-vitals-gateway.rules, or apt remove modemmanager"),
    "check_hangs": Case("", "warning", "what it asks does not answer: start the machine anew, if it stays so"),
    "check_failed": Case("", "warning", "a defect in doctor: report it"),
}


def good(check: str, detail: str) -> Finding:
    """Answer that something is well."""
    return Finding(check, "good", "", detail)


def found(code: str, detail: str, *, of: str = "") -> Finding:
    """Answer a case of the table; `of`: which device, or which check, where the case does not say."""
    case = CASES[code]
    return Finding(f"{case.check} {of}".strip(), case.state, code, detail, case.do)
