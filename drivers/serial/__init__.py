"""One file a wire protocol: pure codecs, and what their models need of settling and polling."""
