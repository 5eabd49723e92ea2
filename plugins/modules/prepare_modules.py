#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prepare_modules
short_description: Build the archives of modules before they are needed
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Ansible builds an archive of a module and everything that it imports when the module is first used in a playbook.
    For the modules of a rollback's window that is time in which the database is closed. Here it is spent before.
  - Where the host's Python is of the controller's version, compiled code goes into the archive beside the sources, so
    that it is not compiled again at each start. Another Python passes over it.
  - It runs on the controller, and on the host only asks Python for its version. A module that cannot be prepared is
    warned of, and built when it is needed.
extends_documentation_fragment:
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  names:
    description: The modules, by their full names.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Build the window's modules while production is open
  balcon.rollback.prepare_modules:
    names:
      - balcon.rollback.db_clone
      - balcon.rollback.db_swap
"""

RETURN = r"""
prepared:
  description: The modules that were prepared.
  returned: success
  type: list
  elements: str
  sample: [balcon.rollback.db_clone]
compiled:
  description:
    - The modules whose archives have compiled code in them; none where the host's Python is of another version.
  returned: success
  type: list
  elements: str
  sample: [balcon.rollback.db_clone]
"""
