"""The notification socket is a real one here; only PID 1 is not behind it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.systemd import notify, watchdog_interval


@pytest.fixture(autouse=True)
def _no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(10)
        yield receiver


def test_a_path_socket_gets_all_assignments_in_one_message(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify("READY=1", "STATUS=2 devices")
    assert manager.recv(4096) == b"READY=1\nSTATUS=2 devices"


def test_an_abstract_socket_is_reached(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"vitals-gateway-test-{os.getpid()}"
    manager.bind("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    assert notify("WATCHDOG=1")
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_a_status_cannot_smuggle_in_an_assignment(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify("STATUS=scale\nWATCHDOG=trigger", "READY=1")
    assert manager.recv(4096).split(b"\n") == [b"STATUS=scale WATCHDOG=trigger", b"READY=1"]


def test_a_long_status_does_not_make_pid_1_throw_the_message_away(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify("STATUS=" + "°" * 10_000, "WATCHDOG=1")
    message = manager.recv(100_000)
    assert len(message) < 4096
    assert message.endswith(b"\nWATCHDOG=1")
    assert message.isascii()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative/path"])
def test_without_a_service_manager_nothing_is_sent(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


def test_a_socket_that_is_gone_is_told_and_not_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with caplog.at_level(logging.WARNING):
        assert not notify("WATCHDOG=1")
    assert "systemd was not told" in caplog.text


def test_a_full_queue_answers_false_instead_of_blocking(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    queue_length = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    answers = [notify("WATCHDOG=1") for _ in range(queue_length + 2)]
    assert answers[0]
    assert not answers[-1]


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "ours", 15.0),
        ("30000000", None, 15.0),
        ("30000000", "1", None),
        (None, "ours", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("²", None, None),
    ],
)
def test_half_of_the_allowed_time_when_this_process_is_watched(
    usec: str | None, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if usec is not None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)
    assert watchdog_interval() == expected


def test_it_is_heard_from_another_process_as_pid_1_hears_it(manager: socket.socket, tmp_path: Path) -> None:
    manager.bind(str(tmp_path / "notify"))
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    program = "from gateway.systemd import notify; raise SystemExit(not notify('READY=1'))"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=30)
    assert manager.recv(4096) == b"READY=1"
