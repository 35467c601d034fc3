/* Room serve: see docs/architecture.md. */
