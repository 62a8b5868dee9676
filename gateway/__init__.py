"""The gateway: from a Sample to the word of the broker that it has it."""
