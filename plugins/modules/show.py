#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print lines as they are
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Prints lines to the controller's output without wrapping or indenting them, for a person or a program to read.
  - It runs on the controller, and does nothing on the host.
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
  lines:
    description: Lines of text.
    type: list
    elements: str
  document:
    description:
      - A dictionary, printed as JSON on one line. It is the only line of Ansible's output that begins with a brace.
    type: dict
"""

EXAMPLES = r"""
- name: Print the status
  balcon.rollback.show:
    lines: "{{ rollback_status.lines }}"

- name: Print it for a program
  balcon.rollback.show:
    document:
      rollback_status: "{{ rollback_status }}"
"""

RETURN = r""" # """
