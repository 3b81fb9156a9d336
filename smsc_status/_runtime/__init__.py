"""The shell: background work, HTTP and the event loop. It asks the core, waits, sends, and feeds the result back."""
