"""Time-outs, retries, redirects and certificates."""

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ccmusic.checkpoints.hub import HubReference, RetryPolicy, pull
from ccmusic.errors import HubUnreachable, ModelRefused
from support.fake_hub import REPOSITORY, FakeHub

from .conftest import CHECKPOINT, FAST_RETRY, FILES

both = pytest.mark.parametrize("source", ["huggingface", "modelscope"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a key and a self-signed certificate for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "hub.pem"
    unencrypted = serialization.NoEncryption()
    key_bytes = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted)
    file.write_bytes(key_bytes + built.public_bytes(pem))
    return file


@pytest.fixture
def tls_hub(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with FakeHub(FILES, tls=context) as hub:
        yield hub


@pytest.fixture
def pauses(monkeypatch):
    """Records the lengths of the pauses instead of sleeping."""
    lengths = []
    # only for this module: other threads of the process sleep too
    monkeypatch.setattr("ccmusic.checkpoints.hub.http.time", SimpleNamespace(sleep=lengths.append))
    return lengths


def test_pauses_double_up_to_the_limit(pauses):
    retry_policy = RetryPolicy(pause_seconds=1.0, longest_pause_seconds=5.0)
    for n_failed in (1, 2, 3, 4):
        retry_policy.pause(n_failed)
    assert pauses == [1.0, 2.0, 4.0, 5.0]


def test_a_hub_can_request_the_pause_before_a_retry(hub, cache, pauses):
    hub.failing, hub.failing_status, hub.retry_after = 2, 429, "7"
    pull(HubReference(REPOSITORY, source="modelscope"), cache=cache, endpoint=hub.url)
    assert pauses == [7.0, 7.0]


def test_a_requested_pause_is_limited(hub, cache, pauses):
    hub.failing, hub.failing_status, hub.retry_after = 1, 503, "86400"
    pull(HubReference(REPOSITORY, source="modelscope"), cache=cache, endpoint=hub.url)
    assert pauses == [30.0]


@both
def test_an_untrusted_certificate_fails_without_a_retry(tls_hub, cache, pauses, source):
    with pytest.raises(HubUnreachable, match=r"certificate that is not trusted here .*set SSL_CERT_FILE to the file"):
        pull(HubReference(REPOSITORY, source=source), cache=cache, endpoint=tls_hub.url)
    assert pauses == []
    assert tls_hub.requests == []


@both
def test_the_authority_in_ssl_cert_file_is_trusted(tls_hub, cache, certificate, source):
    code = f"""if True:
        import pathlib
        from ccmusic.checkpoints.hub import HubReference, pull
        reference = HubReference({REPOSITORY!r}, source={source!r})
        pull(reference, cache=pathlib.Path({str(cache)!r}), endpoint={tls_hub.url!r})
    """
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"SSL_CERT_FILE": str(certificate)})
    assert [path.read_bytes() for path in cache.rglob("save.pt")] == [CHECKPOINT]


def test_a_redirect_from_https_to_http_is_refused(hub, tls_hub, cache, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_hub.storage_at = f"http://localhost:{hub.port}"
    with pytest.raises(ModelRefused, match="redirected from https to http"):
        pull(HubReference(REPOSITORY, source="modelscope"), cache=cache, endpoint=tls_hub.url)
    assert hub.requests == []


@pytest.mark.parametrize("elsewhere", ["file:///etc", "ftp://localhost"])
def test_a_redirect_to_another_protocol_than_http_is_refused(hub, cache, elsewhere):
    hub.storage_at = elsewhere
    with pytest.raises((ModelRefused, HubUnreachable)) as caught:
        pull(HubReference(REPOSITORY, source="modelscope"), cache=cache, endpoint=hub.url, retry_policy=FAST_RETRY)
    assert "is refused: HTTP 302" in str(caught.value) or "unknown url type: ftp" in str(caught.value)
