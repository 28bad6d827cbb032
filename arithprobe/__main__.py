"""``python -m arithprobe``."""

import sys

from arithprobe.cli import main

sys.exit(main())
