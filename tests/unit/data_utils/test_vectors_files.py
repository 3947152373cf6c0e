"""Reading pretrained vectors: real files in every form, and every way they can be broken."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_utils.errors import DataError
from data_utils.vector_files import EXACT, FOLDED, MISSING, FileVectors, read_vectors
from data_utils.vocabulary import Vocabulary

DIM = 5
FILE_TOKENS = ["gato", "perro", "niño", "Madrid", "sol"]
VALUES = np.arange(1, 26, dtype=np.float32).reshape(5, DIM) / 8 - 1
VOCABULARY = Vocabulary(["sol", "gato", "madrid", "ausente", "niño"])
EXPECTED = {"sol": VALUES[4], "gato": VALUES[0], "madrid": VALUES[3], "niño": VALUES[2]}


def glove(tokens: list[str] = FILE_TOKENS, values: NDArray[np.float32] = VALUES) -> bytes:
    lines = [
        " ".join([token, *(repr(float(x)) for x in row)])
        for token, row in zip(tokens, values, strict=True)
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def text(tokens: list[str] = FILE_TOKENS, values: NDArray[np.float32] = VALUES) -> bytes:
    return f"{len(tokens)} {values.shape[1]}\n".encode() + glove(tokens, values)


def fasttext() -> bytes:
    header, *lines = text().decode().splitlines()
    return "".join([f"{header}\n", *(f"{line} \n" for line in lines)]).encode()  # spaces at ends


def binary(
    tokens: list[str] = FILE_TOKENS,
    values: NDArray[np.float32] = VALUES,
    *,
    row_end: bytes = b"\n",
) -> bytes:
    rows = [
        token.encode() + b" " + row.astype("<f4").tobytes() + row_end
        for token, row in zip(tokens, values, strict=True)
    ]
    return f"{len(tokens)} {values.shape[1]}\n".encode() + b"".join(rows)


FORMS = {
    "word2vec-text": text(),
    "glove": glove(),
    "fasttext": fasttext(),
    "word2vec-binary": binary(),
    "word2vec-binary-without-line-breaks": binary(row_end=b""),
    "windows-line-ends": text().replace(b"\n", b"\r\n"),
    "tabs": text().replace(b" ", b"\t"),
    "byte-order-mark": b"\xef\xbb\xbf" + glove(),
    "no-last-line-break": text().rstrip(),
    "blank-lines": text() + b"\n\n",
}


def zipped(data: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.txt", data)


COMPRESSIONS = {
    "gz": lambda data, path: path.write_bytes(gzip.compress(data)),
    "bz2": lambda data, path: path.write_bytes(bz2.compress(data)),
    "xz": lambda data, path: path.write_bytes(lzma.compress(data)),
    "zip": zipped,
}


def read(folder: Path, data: bytes, dim: int | None = None) -> FileVectors:
    path = folder / "vectors"
    path.write_bytes(data)
    return read_vectors(path, VOCABULARY, dim=dim)


def assert_as_expected(vectors: FileVectors) -> None:
    for token, expected in EXPECTED.items():
        np.testing.assert_array_equal(vectors.vectors[VOCABULARY.ids[token]], expected)
    assert not vectors.vectors[VOCABULARY.ids["ausente"]].any()
    assert vectors.matches.tolist() == [MISSING, MISSING, EXACT, EXACT, FOLDED, MISSING, EXACT]
    assert vectors.num_rows == len(FILE_TOKENS)


def refusal(folder: Path, data: bytes, dim: int | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, data, dim)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "vectors") in message
    return message


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_every_form_gives_the_same_vectors(tmp_path: Path, data: bytes) -> None:
    assert_as_expected(read(tmp_path, data))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", ["word2vec-text", "glove", "word2vec-binary"])
def test_a_compressed_file_is_known_by_its_content(
    tmp_path: Path, form: str, compression: str
) -> None:
    path = tmp_path / "no_suffix"
    COMPRESSIONS[compression](FORMS[form], path)
    assert_as_expected(read_vectors(path, VOCABULARY))


@pytest.mark.parametrize("dim", [2, 3, 50, 300])
@pytest.mark.parametrize("write", [text, glove, binary])
def test_the_form_is_told_at_any_width(tmp_path: Path, write, dim: int) -> None:
    tokens = ["3", "-0.5", "niño", "sol", "a/b"]  # tokens that look like numbers
    values = np.random.default_rng(dim).normal(size=(5, dim)).astype(np.float32)
    found = read(tmp_path, write(tokens, values))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], values[3])
    assert found.vectors.shape == (len(VOCABULARY), dim)


def test_many_binary_rows_are_cut_right_across_reads(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("data_utils.vector_rows._READ_BYTES", 7)
    assert_as_expected(read(tmp_path, binary()))


def test_binary_values_that_look_like_spaces_and_line_breaks_are_read(tmp_path: Path) -> None:
    spaces = np.frombuffer(b" \n \n" * DIM, dtype="<f4")
    values = np.stack([spaces, *VALUES[1:4], spaces])
    found = read(tmp_path, binary(values=values))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["gato"]], spaces)
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], spaces)


def test_files_that_gensim_writes_are_read(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(DIM)
    keyed.add_vectors(FILE_TOKENS, VALUES)
    for is_binary in (False, True):
        path = tmp_path / f"{is_binary}"
        keyed.save_word2vec_format(str(path), binary=is_binary)
        assert_as_expected(read_vectors(path, VOCABULARY))


def test_the_first_of_equal_tokens_wins(tmp_path: Path) -> None:
    found = read(tmp_path, text(["sol", "sol", "SOL", "Sol", "sol"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[0])


def test_an_exact_token_wins_over_an_earlier_capitalised_one(tmp_path: Path) -> None:
    found = read(tmp_path, text(["SOL", "Sol", "sol", "SOL", "sol"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[2])


def test_the_first_of_several_capitalised_tokens_wins(tmp_path: Path) -> None:
    found = read(tmp_path, text(["x", "SOL", "Sol", "y", "z"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[1])


def test_a_decomposed_accent_is_the_same_token(tmp_path: Path) -> None:
    found = read(tmp_path, text(["a", "NIN\u0303O", "b", "c", "d"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["niño"]], VALUES[1])


def test_glove_tokens_may_hold_spaces(tmp_path: Path) -> None:
    found = read(tmp_path, glove([". . .", "at 2019", "sol", "1 1/2", "a b"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[2])
    assert found.num_rows == 5


def test_tokens_that_are_not_utf8_are_counted_and_passed_over(tmp_path: Path) -> None:
    for data in (text(), binary()):
        found = read(tmp_path, data.replace(b"perro", b"pe\xff\xf1o"))
        assert_as_expected(found)
        assert found.num_undecodable == 1


def test_a_line_separator_within_a_token_does_not_end_the_line(tmp_path: Path) -> None:
    found = read(tmp_path, text(["a\x85b", "a\u2028b", "sol", "a\xa0b", "c"]))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[2])


def test_a_token_spelled_like_a_special_one_takes_no_id(tmp_path: Path) -> None:
    found = read(tmp_path, text(["<unk>", "<pad>", "sol", "x", "y"]))
    assert not found.vectors[:2].any()
    assert found.matches[:2].tolist() == [MISSING, MISSING]


@pytest.mark.parametrize("data", [text(), glove(), binary()], ids=["text", "glove", "binary"])
def test_another_width_than_asked_for_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "width 5, not 300" in refusal(tmp_path, data, dim=300)
    assert_as_expected(read(tmp_path, data, dim=5))


@pytest.mark.parametrize("data", [text(), glove()], ids=["text", "glove"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("perro 1 2 3 4", "4 values instead of 5"),
        ("perro 1.5 2.5 3.5 4.5 5.5 6.5", "6 values instead of 5"),
        ("perro", "0 values instead of 5"),
        ("gato 1 2 x 4 5", "could not convert string to float"),
        ("gato 1 2 3,5 4 5", "could not convert string to float"),
        ("gato 1 2 nan 4 5", "not finite"),
        ("gato 1 2 -inf 4 5", "not finite"),
        ("gato 1 2 1e99 4 5", "not finite"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, data: bytes, line: str, message: str) -> None:
    lines = data.decode().replace("gato", "otro").splitlines()
    number = len(lines) - 3  # neither the first nor the last row
    lines[number] = line
    refused = refusal(tmp_path, "\n".join([*lines, ""]).encode())
    assert f", line {number + 1}" in refused
    assert message in refused


def test_a_broken_first_line_is_named_and_not_taken_for_the_width(tmp_path: Path) -> None:
    for line in (b"sol 1 2 3\n", b"sol 1 2 3 4 x\n"):
        assert "line 1" in refusal(tmp_path, line + glove())


def test_binary_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf):
        values = VALUES.copy()
        values[3, 2] = bad
        assert "vector 4 (Madrid): a value is not finite" in refusal(
            tmp_path, binary(values=values)
        )


@pytest.mark.parametrize("data", [text(), binary()], ids=["text", "binary"])
@pytest.mark.parametrize("count", ["4", "6", "1,000,000"])
def test_a_header_that_counts_other_rows_is_noted(tmp_path: Path, data: bytes, count: str) -> None:
    path, said = tmp_path / "vectors", []
    path.write_bytes(count.replace(",", "").encode() + data[1:])
    found = read_vectors(path, VOCABULARY, progress=lambda text, _: said.append(text))
    assert_as_expected(found)
    assert found.notes == (f"{count} vectors announced, 5 found",)
    assert said == [f"vectors: {count} vectors announced, 5 found"]


def test_a_file_cut_within_a_row_is_refused(tmp_path: Path) -> None:
    for data in (text(), binary()):
        ends = {end for end in range(4, len(data)) if data[:end].endswith(b"\n")}
        for length in range(5, len(data) - 8):  # a text's last number may be cut unnoticed
            if length in ends or (data == binary() and length + 1 in ends):
                continue  # behind a row, or in binary before its line break
            refusal(tmp_path, data[:length])


def test_the_first_lines_of_a_file_are_read(tmp_path: Path) -> None:
    head = b"".join(text().splitlines(keepends=True)[:4])
    found = read(tmp_path, head)
    assert (found.num_rows, found.notes) == (3, ("5 vectors announced, 3 found",))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["gato"]], VALUES[0])


@pytest.mark.parametrize("write", [text, glove])
@pytest.mark.parametrize("separator", [b" ", b"\t"])
def test_a_token_may_hold_spaces_and_a_row_without_one_is_passed_over(
    tmp_path: Path, write, separator: bytes
) -> None:
    data = write(["gato", " ", "ra de", "Madrid", "sol"]).replace(b" 0.5 ", separator + b"0.5 ")
    found = read(tmp_path, data)
    assert (found.num_rows, found.num_blank) == (5, 1)
    assert found.notes == ("1 rows without a token passed over",)
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[4])


@pytest.mark.parametrize("write", [text, glove])
@pytest.mark.parametrize("token", ["a\x7fb", "\x00", "a\x1b[31mb"])
@pytest.mark.parametrize("place", [0, 2])
def test_control_characters_in_tokens_make_no_binary_file(
    tmp_path: Path, write, token: str, place: int
) -> None:
    tokens = ["gato", "perro", "niño", "Madrid", "sol"]
    tokens[place] = token
    found = read(tmp_path, write(tokens))
    np.testing.assert_array_equal(found.vectors[VOCABULARY.ids["sol"]], VALUES[4])
    assert found.num_rows == 5


def test_a_line_longer_than_any_row_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for data in (text(), glove()):
        long = data + b"x" * 3_000_000 + b" 1 2 3 4 5\n"
        assert "longer than 1 MB" in refusal(tmp_path, long)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_truncated_compressed_file_is_refused(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "vectors"
    values = np.random.default_rng(0).normal(size=(5, 200)).astype(np.float32)
    COMPRESSIONS[compression](text(values=values), path)
    whole = path.read_bytes()
    for fraction in (0.3, 0.6, 0.95):
        assert "vectors" in refusal(tmp_path, whole[: int(len(whole) * fraction)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"title,category\nsilla,hogar\n", "is no file of word vectors"),
        (b"\x00\x01\x02\x03" * 100, "is no file of word vectors"),
        (b"5 0\n", "width is 0"),
        (b"5 999999999\nsol 1 2\n", "width is 999999999"),
        (b"0 5\n", "is empty"),
        (b"\xba\x16\x4f\x2f\x0c\x00\x00\x00", "fastText model"),
        (b"\x80\x04\x95", "pickle"),
    ],
)
def test_what_is_no_vectors_file_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(tmp_path, data)


def test_an_absent_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_vectors(tmp_path / "absent.vec", VOCABULARY)
    with pytest.raises(DataError, match="Is a directory"):
        read_vectors(tmp_path, VOCABULARY)


def test_a_zip_of_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.txt", text())
        archive.writestr("two.txt", text())
    with pytest.raises(DataError, match="holds 2 files"):
        read_vectors(path, VOCABULARY)


def test_progress_goes_up_to_the_end_of_the_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("data_utils.vector_files._ROWS_PER_REPORT", 1)
    path = tmp_path / "vectors.gz"
    path.write_bytes(gzip.compress(text()))
    fractions: list[float | None] = []
    read_vectors(path, VOCABULARY, progress=lambda _, fraction: fractions.append(fraction))
    assert len(fractions) == 5
    assert fractions[-1] == 1.0


def test_what_the_caller_raises_is_not_taken_for_a_broken_file(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("data_utils.vector_files._ROWS_PER_REPORT", 1)

    def fail(message: str, fraction: float | None) -> None:
        raise BrokenPipeError("the terminal is gone")

    path = tmp_path / "vectors"
    path.write_bytes(text())
    with pytest.raises(BrokenPipeError):
        read_vectors(path, VOCABULARY, progress=fail)
