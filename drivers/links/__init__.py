"""The only files that touch a port: serial_port.py imports pyserial, bluetooth.py bleak."""
