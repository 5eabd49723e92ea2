# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice to Slack, or to what takes Slack's incoming webhooks: Mattermost, Rocket.Chat, Zulip, Discord."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .webhook import WebhookChannel

if TYPE_CHECKING:
    from .._domain.notice import Message


class SlackChannel(WebhookChannel):
    """One POST with the text; names of the database cannot become markup or mention anybody."""

    def body(self, message: Message) -> str:
        """Return the text, the three characters escaped that mean something to Slack, the subject in bold."""
        escaped = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        subject, _newline, rest = escaped.partition("\n")
        return json.dumps({"text": f"*{subject.replace('*', '')}*\n{rest}"}, ensure_ascii=False)
