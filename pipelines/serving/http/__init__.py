"""What every request passes: identity, log and metrics; token; bounds; and errors as documents."""
