/* Room hub: see docs/architecture.md. */
