"""The embedded sandbox: one more Azure cloud, on loopback. Outside this package only `fleetlib.cloud` starts it."""
