"""The second channel: the same message by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.settings import BridgeSettings
from ccmusic.process.secret_file import read_secret


class Mail:
    """A mail server and the recipients.

    Parameters
    ----------
    settings : BridgeSettings
        With `smtp_host`.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._settings = settings

    def send(self, subject: str, text: str, timeout_seconds: float) -> None:
        """Send one mail to all recipients.

        Raises
        ------
        NotSent
            With the reason ``mail``: the server accepted it for no recipient.
        """
        settings = self._settings
        message = EmailMessage(policy=SMTP)
        message["Subject"] = subject
        message["From"] = settings.smtp_from
        message["To"] = ", ".join(settings.smtp_to)
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=(settings.smtp_from or "").rpartition("@")[2].strip(">") or None)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            with self._connection(timeout_seconds) as server:
                if settings.smtp_user is not None and settings.smtp_password_file is not None:
                    server.login(settings.smtp_user, read_secret(settings.smtp_password_file) or "")
                server.send_message(message, settings.smtp_from, settings.smtp_to)
        except smtplib.SMTPResponseException as error:
            raise NotSent("mail", f"{settings.smtp_host} answered {error.smtp_code} ({type(error).__name__})") from None
        except (OSError, ValueError) as error:  # smtplib's own errors are OSErrors
            raise NotSent("mail", f"{settings.smtp_host}: {_error_text(error)}") from None

    def _connection(self, timeout_seconds: float) -> smtplib.SMTP:
        settings = self._settings
        host = settings.smtp_host or ""
        if settings.smtp_security == "tls":
            return smtplib.SMTP_SSL(
                host, settings.smtp_port, timeout=timeout_seconds, context=ssl.create_default_context()
            )
        server = smtplib.SMTP(host, settings.smtp_port, timeout=timeout_seconds)
        if settings.smtp_security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


def _error_text(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return str(error)
    return getattr(error, "strerror", None) or type(error).__name__
