# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  endpoints:
    description: The endpoints, all asked at the same time.
    type: list
    elements: dict
    suboptions:
      name:
        description: How results call it; by default its address.
        type: str
      url:
        description: Its address, C(http) or C(https). No proxy is used, and redirects to other hosts are not followed.
        type: str
        required: true
      method:
        description: The HTTP method.
        type: str
        default: GET
      headers:
        description: Request headers.
        type: dict
      body:
        description: The request's body; text as it is, anything else as JSON.
        type: raw
      status:
        description: Status codes that count. By default V([200]); any, where a release is to be gone.
        type: list
        elements: int
      json:
        description:
          - Values that the JSON of the answer must have, by dotted path, C(migrations.pending) for example; a number
            picks from a list.
          - Types count, V(1) is neither V(true) nor the text V("1").
        type: dict
      contains:
        description: Text that the answer must hold. At most 1 MiB of an answer is read.
        type: str
      absent:
        description: Text that the answer must not hold.
        type: str
      max_latency_ms:
        description: The slowest answer that counts as healthy, in milliseconds.
        type: float
"""
