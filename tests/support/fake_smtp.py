"""A real SMTP server (aiosmtpd) that keeps its mails; a test can stop and restart it, and make it refuse mails.

In a test::

    with FakeSmtp() as smtp:
        ...
        smtp.mails[0]["Subject"], smtp.texts[0]

As a process of its own, each mail as a line of JSON ``{"time", "from", "to", "subject", "text"}``::

    python tests/support/fake_smtp.py --port 8025 --log mails.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import threading
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class FakeSmtp:
    """A server in a thread, on 127.0.0.1.

    Parameters
    ----------
    port : int
        0 for any free one.
    user, password : str, optional
        Required, after STARTTLS.
    certificate : tuple of Path, optional
        Certificate and key; STARTTLS is then required.
    log : Path, optional
        Each mail is appended as a line of JSON.

    Attributes
    ----------
    mails : list of EmailMessage
        Oldest first; the envelope is in ``X-Envelope-From`` and ``X-Envelope-To``.
    refuse : str or None
        An SMTP answer such as ``451 later``, given to every mail while it is set.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        user: str | None = None,
        password: str | None = None,
        certificate: tuple[Path, Path] | None = None,
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.mails: list[EmailMessage] = []
        self.refuse: str | None = None
        self._user, self._password = user, password
        self._log = log
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificate else None
        if self._tls and certificate:
            self._tls.load_cert_chain(*certificate)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeSmtp:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def texts(self) -> list[str]:
        """The plain text of every mail."""
        return [mail.get_body(("plain",)).get_content().replace("\r\n", "\n") for mail in self.mails]

    def start(self) -> None:
        """Begin to listen; after a stop, on the same port."""
        self._loop = loop = asyncio.new_event_loop()
        self._server = loop.run_until_complete(loop.create_server(self._protocol, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=loop.run_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return

        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.call_soon(loop.stop)

        asyncio.run_coroutine_threadsafe(end(), loop)
        self._thread.join()
        loop.close()

    def _protocol(self) -> SMTP:
        return SMTP(
            self,
            hostname="localhost",
            loop=self._loop,
            enable_SMTPUTF8=True,
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            auth_required=self._user is not None,
            auth_require_tls=self._tls is not None,
            authenticator=self._authenticate,
            auth_exclude_mechanism=["LOGIN"],  # aiosmtpd sends "User Name", Alertmanager expects "Username:"
        )

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        valid = isinstance(data, LoginPassword) and (data.login, data.password) == (
            (self._user or "").encode(),
            (self._password or "").encode(),
        )
        return AuthResult(success=valid, handled=False)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        """Store one mail."""
        if self.refuse is not None:
            return self.refuse
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail["X-Envelope-From"] = envelope.mail_from
        mail["X-Envelope-To"] = ", ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        if self._log is not None:
            line = {
                "time": time.time(),
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "subject": mail["Subject"],
                "text": self.texts[-1],
            }
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return "250 OK"


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A mail server that stores its mails and delivers none.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--log", type=Path, help="append each mail to this file, as a line of JSON")
    options = parser.parse_args()
    smtp = FakeSmtp(options.port, log=options.log)
    smtp.start()
    print(f"smtp: 127.0.0.1:{smtp.port}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        smtp.stop()


if __name__ == "__main__":
    main()
