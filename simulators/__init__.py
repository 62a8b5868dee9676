"""Devices that are not there: they speak on the wire and share no code with drivers or gateway."""
