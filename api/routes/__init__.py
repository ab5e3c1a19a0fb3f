"""Routes: one call of a Node method each; no logic lives here."""
