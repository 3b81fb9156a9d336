"""What a client can be asked to do: check, stream, track, delete; and how inputs are read."""
