/* Room policy: see docs/architecture.md. */
