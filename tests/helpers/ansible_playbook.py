#!/usr/bin/env python
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook without Python's cyclic garbage collector, which takes a quarter of a short run.

The tests start it some hundred times. Molecule's scenarios and the demo start the program itself.
"""

from __future__ import annotations

import gc
import sys

gc.disable()  # before the first import: loading Ansible makes most of its objects

from ansible.cli.playbook import main  # noqa: E402

if __name__ == "__main__":
    sys.argv[0] = "ansible-playbook"
    sys.exit(main())
