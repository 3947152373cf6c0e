"""What a name may be: of a study, and of a file that is stored with one."""

from __future__ import annotations

from search.errors import SearchError

# Optuna's column for the name of a study.
_MOST_CHARACTERS = 512


def check_study_name(name: str, option: str = "--study") -> None:
    """Refuse what cannot name a new study; a stored one of such a name is read all the same.

    Raises:
        SearchError: It is blank, ``.`` or ``..``, too long, or no database takes it.
    """
    advice = f"give another with {option} NAME"
    if not name.strip() or name in (".", ".."):
        raise SearchError(f"{name!r} cannot be the name of a study: {advice}")
    if not is_utf8(name) or "\0" in name:
        raise SearchError(f"the name of the study, {name!r}, is not UTF-8: {advice}")
    if len(name) > _MOST_CHARACTERS:
        raise SearchError(
            f"the name of the study has {len(name)} characters, more than the {_MOST_CHARACTERS} "
            f"that are stored: {advice}"
        )


def is_utf8(name: object) -> bool:
    """Whether a name, or a path, can be stored: bytes that are not UTF-8 are lone surrogates."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True
