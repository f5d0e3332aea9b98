"""A backend whose import ends the process, as a missing driver does."""

import os
import sys

sys.stderr.write("libacme.so: no device\n")
os._exit(9)
