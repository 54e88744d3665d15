"""Find private keys and tokens in a text before it can leave the clone.

The forms are those of the detectors of detect-secrets 1.5.0
(https://github.com/Yelp/detect-secrets, Copyright Yelp, Apache License 2.0) that know a secret by its own form, without its
dependencies; bounded so that no match starts in the middle of a word. ADDED has forms that their issuers document and that
are missing there. Each form is compiled only where one of its marks is in the text: most texts have none, and cost a few
searches for a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitcoord.errors import Refused
from gitcoord.lean import NamedTuple

ALLOW = "--allow-secret"


class Form(NamedTuple):
    """One kind of secret: its name, a string that every text with it contains, and its regular expression."""

    name: str
    marks: tuple[str, ...]
    pattern: str


FORMS = (
    Form("a private key", ("PRIVATE KEY", "PuTTY-User-Key-File-2"),
         r"BEGIN (?:(?:DSA|EC|OPENSSH|RSA|SSH2 ENCRYPTED|ENCRYPTED) )?PRIVATE KEY|BEGIN PGP PRIVATE KEY BLOCK"
         r"|PuTTY-User-Key-File-2"),
    Form("an AWS access key", ("A3T", "ABIA", "ACCA", "AKIA", "ASIA"), r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}\b"),
    Form("an AWS secret key", ("aws", "AWS", "Aws"),
         r"(?i)aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?['\"][0-9a-zA-Z/+]{40}['\"]"),
    Form("an Artifactory credential", ("AKC",), r"(?:\s|=|:|\"|^)AKC[a-zA-Z0-9]{10,}(?:\s|\"|$)"),
    Form("an Azure storage key", ("AccountKey=",), r"AccountKey=[a-zA-Z0-9+/=]{88}"),
    Form("a Discord token", (".",), r"\b[MNO][a-zA-Z\d_-]{23,25}\.[a-zA-Z\d_-]{6}\.[a-zA-Z\d_-]{27}"),
    Form("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9_]{36}"),
    Form("a GitLab token", ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "GR1348941", "glcbt-", "glimt-", "glptt-",
                            "glagent-", "gloas-"),
         r"\b(?:(?:glpat|gldt|glft|glsoat|glrt)-[\w-]{20,50}|GR1348941[\w-]{20,50}|glcbt-(?:[0-9a-fA-F]{2}_)?[\w-]{20,50}"
         r"|glimt-[\w-]{25}|glptt-[\w-]{40}|glagent-[\w-]{50,1024}|gloas-[\w-]{64})(?!\w)"),
    Form("a JSON Web Token", ("eyJ",), r"\beyJ[\w=-]{10,}\.eyJ[\w=-]{10,}\.[\w.+/=-]+"),
    Form("a Mailchimp key", ("-us",), r"\b[0-9a-z]{32}-us[0-9]{1,2}\b"),
    Form("an npm token", (":_authToken=",), r"//\S+/:_authToken=\s*(?:npm_\S+|[A-Fa-f0-9-]{36})"),
    Form("an OpenAI key", ("T3BlbkFJ",), r"\bsk-[A-Za-z0-9_-]{0,200}[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    Form("a PyPI token", ("pypi-AgE",), r"\bpypi-(?:AgEIcHlwaS5vcmc|AgENdGVzdC5weXBpLm9yZw)[\w-]{70,}"),
    Form("a SendGrid key", ("SG.",), r"\bSG\.[\w-]{22}\.[\w-]{43}"),
    Form("a Slack token", ("xox", "XOX"), r"(?i)\bxox[abposr]-(?:\d+-)+[a-z0-9]+"),
    Form("a Slack webhook", ("hooks.slack.com",), r"(?i)https://hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    Form("a Square secret", ("sq0csp-",), r"\bsq0csp-[\w\\-]{43}"),
    Form("a Stripe key", ("k_live_",), r"\b[rs]k_live_[0-9a-zA-Z]{24}"),
    Form("a Telegram token", (":",), r"\b\d{8,10}:[\w-]{35}\b"),
    Form("a Twilio key", ("AC", "SK"), r"\b(?:AC|SK)[a-z0-9]{32}\b"),
    Form("a password in a URL", ("://",), r"://[^\s:/?#\[\]@!$&'()*+,;=]+:[^\s:/?#\[\]@!$&'()*+,;=]+@"),
)  # fmt: skip
ADDED = (
    Form("a GitHub token", ("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{50,}"),
    Form("an Anthropic key", ("sk-ant-",), r"\bsk-ant-[A-Za-z0-9]+-[\w-]{20,}"),
    Form("a Google key", ("AIza",), r"\bAIza[\w-]{35}\b"),
    Form("an npm token", ("npm_",), r"\bnpm_[A-Za-z0-9]{36}\b"),
)


class LooksSecret(Refused):
    """A text that would leave the clone seems to contain a secret; `found` says which kind."""

    def __init__(self, found: str, where: str = "the text") -> None:
        super().__init__(
            f"{where} has what looks like {found}: nothing was written",
            f"remove it; or, if every reader of the remote may know it, add {ALLOW}",
        )
        self.found = found


def find(text: str) -> str:
    """The kind of secret that `text` seems to contain; empty if none."""
    for form in (*FORMS, *ADDED):
        if any(mark in text for mark in form.marks):
            import re

            if re.search(form.pattern, text):
                return form.name
    return ""


def check(text: str, values: Iterable[object], attached: Iterable[bytes]) -> None:
    """Check an event that is about to be written for secrets. Raises LooksSecret."""
    for part in (text, *_strings(values)):
        if found := find(part):
            raise LooksSecret(found)
    for content in attached:
        if found := find(content.decode("latin-1")):
            raise LooksSecret(found, "an attachment")


def _strings(values: Iterable[object]) -> Iterator[str]:
    """The strings of a payload; a list of strings as one text."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple | dict):
            yield "\n".join(_strings(value.values() if isinstance(value, dict) else value))
