"""Drivers: from a port to a Sample. They know no patient, no topic, no database and no YAML."""
