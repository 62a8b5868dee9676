"""The commands of `vitals-gateway`, one file each: `add(commands)` declares it, with what to call as `act`.

These files are imported at every start of the command line, the service's too: what a command needs it imports when
it is used. `act` takes what was given and answers an exit status (sysexits.h).
"""

import os

OK, USAGE, BAD_CONFIG = os.EX_OK, os.EX_USAGE, os.EX_CONFIG  # 0, 64, 78
FAILED, NO_SAMPLE = 1, 3
