"""What is new, sent to a URL of Apprise's: mail, chat, pager, webhook."""

from __future__ import annotations

import io
import logging
import platform

from bdops.core.past import Past
from bdops.core.survey import Survey
from bdops.errors import ConfigError, OperationFailed
from bdops.render.checks import show_survey, summary_line
from bdops.render.history import show_past

MAX_BODY = 8000
"""Characters: chats cut, or refuse, what is longer."""


def news_text(survey: Survey, news: Past) -> tuple[str, str]:
    """The title and the body: what changed, or, where nothing was recorded before, what is not ok."""
    out = io.StringIO()
    if news.first_at is None:
        show_survey(survey, "table", command="check", verbose=0, stream=out)
    else:
        show_past(survey, news, "table", command="check", verbose=0, stream=out)
    body = out.getvalue()
    if len(body) > MAX_BODY:
        body = f"{body[:MAX_BODY]}\n... and more: bdops check"
    return f"bdops on {platform.node()}: {summary_line(survey)}", body


def send(url: str, title: str, body: str, *, where: str) -> None:
    """Deliver it. The URL, which has a password in it, is in no error; `where` says where it came from.

    Raises ConfigError when the library is missing or the URL is none, OperationFailed when it was not taken.
    """
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            "notifications need the library apprise", hint="pip install 'bdops[notify]'", code="NOTIFY_MISSING"
        ) from None
    # It tells of failures in its log, and some of its lines have the URL in them.
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    sender = apprise.Apprise()
    if not sender.add(url.strip()):
        raise ConfigError(
            "the notification's URL is none that is known", where=where, hint="see Apprise's list of URLs"
        )
    if not sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        raise OperationFailed(
            "the notification was not taken",
            where=where,
            hint="try the URL with the program apprise: apprise -vv -b test URL",
            code="NOTIFY_FAILED",
        )
