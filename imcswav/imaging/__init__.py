"""Images on their way from files to the device: read, brought to size, kept in a cache, placed, streamed."""
