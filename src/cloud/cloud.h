/* Room cloud: see docs/architecture.md. */
