"""The simulated Coincall's HTTP and WebSocket interface: pure parts (auth, limits, paging, faults, rendering) and
the Starlette application that puts them around the core."""
