/* Room net: see docs/architecture.md. */
