"""One file a Bluetooth profile: pure codecs by characteristic. A value arrives whole; none keeps anything."""
