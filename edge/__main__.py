"""python3 -m edge: the same as the command scrapsort."""

import sys

from edge.cli import main

sys.exit(main())
