# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  run_id:
    description:
      - The run that this step belongs to, V(20261123t081500a3f9) for example. Its journal then gets one event.
    type: str
  state_dir:
    description:
      - The host's state folder, in which the run has its own. It must belong to the account that runs the tools,
        with mode 0700.
    type: path
  phase:
    description:
      - The phase of the run that this step is recorded under.
    type: str
    choices:
      - preflight
      - rehearse
      - gate
      - back_up
      - assess
      - compare
      - close
      - candidate
      - migrate_down
      - verify
      - reopen
      - watch
      - restore
      - report
"""
