"""`make bench`: every measurement there is, as a table."""

from __future__ import annotations

import asyncio

from benchmarks import cuff, first_reading

if __name__ == "__main__":
    asyncio.run(first_reading.main())
    asyncio.run(cuff.main())
