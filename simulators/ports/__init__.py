"""Where a simulated device is plugged in."""
