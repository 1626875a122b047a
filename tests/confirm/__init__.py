"""What only a real account can answer (docs/unconfirmed.md), asked by a script: `make confirm-on-aws ACCOUNT=…`."""
