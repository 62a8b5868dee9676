"""A real dbus-daemon that nobody else uses: the system bus of one simulated room."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_START_S = 10.0
_STOP_S = 5.0
# Everyone who gets to the socket may do everything: the folder around it is open to its owner alone.
_CONFIG = """\
<busconfig>
  <type>custom</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


class DbusDaemon:
    """A child process, from entering to leaving.

    It ends with its parent even if that is killed; strictly, with the thread that started it (prctl(2), PDEATHSIG).
    """

    def __init__(self) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="vitals-dbus-")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """The address for DBUS_SYSTEM_BUS_ADDRESS."""
        return f"unix:path={self._socket}"

    @property
    def pid(self) -> int:
        """Its process; RuntimeError while there is none."""
        if self._process is None:
            raise RuntimeError("dbus-daemon does not run")
        return self._process.pid

    async def __aenter__(self) -> Self:
        """RuntimeError says what is missing or what dbus-daemon said."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def _socket(self) -> Path:
        return Path(self._files.name) / "bus"

    async def _start(self) -> None:
        config, said = Path(self._files.name) / "bus.conf", Path(self._files.name) / "said"
        config.write_text(_CONFIG.format(socket=self._socket), encoding="utf-8")
        daemon, setpriv = shutil.which("dbus-daemon"), shutil.which("setpriv")
        if daemon is None or setpriv is None:
            raise RuntimeError("no dbus-daemon or no setpriv: apt-get install dbus util-linux")
        with said.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(setpriv, "--pdeathsig", "KILL"),
                *(daemon, f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C on a terminal is for the simulation, which needs its bus to end well
            )
        printed = self._process.stdout
        if printed is None or not await asyncio.wait_for(printed.readline(), _START_S):
            raise RuntimeError(f"dbus-daemon did not start: {said.read_text(errors='replace')[-2000:].strip()}")

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._files.cleanup()
