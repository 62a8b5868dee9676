"""Bluetooth devices: GATT servers, for the simulated air or for a real dongle."""
