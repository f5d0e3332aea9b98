"""."""

REFERENCES = ()
