"""Pure: no I/O, no client, no clock. Imports the standard library alone."""
