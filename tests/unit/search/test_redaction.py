"""Passwords in addresses, as they are shown."""

from __future__ import annotations

import pytest

from search.redaction import redact, without_user


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:a@b:c@host:1/db", "postgresql+psycopg://me:***@host:1/db"),
        ("postgresql://h/db?user=me&password=s3cret", "postgresql://h/db?user=me&password=***"),
        ("postgresql://h/db?password=a#b c&user=me", "postgresql://h/db?password=***&user=me"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("at postgresql://me:s3cret@host/db and a@b", "at postgresql://me:***@host/db and a@b"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        # What people forget to escape.
        ("http://me:sec#ret@host:5000", "http://me:***@host:5000"),
        ("http://me:sec?ret@host:5000", "http://me:***@host:5000"),
        ("postgresql://me:sec/ret@host", "postgresql://me:***@host"),
        ("http://me:sec[ret@host", "http://me:***@host"),
        ("postgresql://me:1 two 3@host/db", "postgresql://me:***@host/db"),
        ("no answer from http://me:one two@host:5000", "no answer from http://me:***@host:5000"),
        # Other names for a secret.
        ("https://host/?api_key=s3cret", "https://host/?api_key=***"),
        ("https://host/?apikey=s3cret&x=1", "https://host/?apikey=***&x=1"),
        ("wasbs://c@host/a?sv=1&sig=s3cret", "wasbs://c@host/a?sv=1&sig=***"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme;PWD%3Ds", "mssql+pyodbc:///?odbc_connect=***"),
        # No secret: ports, and addresses of mail.
        ("at grpc://10.0.0.5:13000, ask a@b", "at grpc://10.0.0.5:13000, ask a@b"),
        ("at http://[::1]:5000, ask a@b", "at http://[::1]:5000, ask a@b"),
    ],
)
def test_what_is_shown_has_no_password(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize(
    "url", ["http://host:5000", "http://me:sec/r#e?t@host:5000", "http://me@host:5000"]
)
def test_an_address_to_open_has_no_user(url):
    assert without_user(url) == "http://host:5000"
