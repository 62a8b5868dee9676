"""Serial devices, each with its own encoder, written from the manual and not from the driver."""
