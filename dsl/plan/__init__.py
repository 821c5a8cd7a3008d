"""The plan: frozen, printable, serialisable data that says what a flow module computes. No I/O, no runtime."""
