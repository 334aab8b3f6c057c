"""Numbers as they are spoken, by language, written by hand, with the source of each language.

The values of a source marked * are the source's own examples, or its rule on other numbers; the other sources were not
at hand and are named from memory.
"""

from typing import NamedTuple


class Spoken(NamedTuple):
    source: str
    words: dict[str, str]
    """Written with digits -> spoken."""


SPOKEN = {
    "be": Spoken(
        "* Правілы беларускай арфаграфіі 2008, §37 (шэсцьдзясят; пяцьсот адзін); CLDR for коска and мінус",
        {
            "0, 4, 11, 15, 18": "нуль, чатыры, адзінаццаць, пятнаццаць, васямнаццаць",
            "60, 75, 125": "шэсцьдзясят, семдзесят пяць, сто дваццаць пяць",
            "2.500": "дзве тысячы пяцьсот",
            "12,5": "дванаццаць коска пяць",
            "1 %, 22 %, 5 %, 11 %": "адзін працэнт, дваццаць два працэнты, пяць працэнтаў, адзінаццаць працэнтаў",
            "-5": "мінус пяць",
            "25-ы": "25ы",
            "у 1963 годзе": "у 1963 годзе",
        },
    ),
    "ca": Spoken(
        "* Optimot 107/4 (abreviatures dels ordinals); * GEIEC 12.3.5; CLDR for coma and menys",
        {
            "0, 8, 16, 17, 22": "zero, vuit, setze, disset, vint-i-dos",
            "200, 345, 1.000": "dos-cents, tres-cents quaranta-cinc, mil",
            "1963": "mil nou-cents seixanta-tres",
            "12,5 i 3,14 i 0,05": "dotze coma cinc i tres coma catorze i zero coma zero cinc",
            "20 %": "vint per cent",
            "-5": "menys cinc",
            "1r 2n 3r 4t 1a 2.a 4a": "primer segon tercer quart primera segona quarta",
            "5è 15è 21è 32è 34a 18a 5a": "cinquè quinzè vint-i-unè trenta-dosè trenta-quatrena divuitena cinquena",
        },
    ),
    "de": Spoken(
        "Duden",
        {
            "12,5 %": "zwölf Komma fünf Prozent",
            "101.000": "einhunderteintausend",
            "201.000.000": "zweihunderteine Millionen",
        },
    ),
    "eo": Spoken(
        "* PMEG 23.1.1; CLDR for komo and minus",
        {
            "0, 11, 20, 24, 101, 1.011": "nul, dek unu, dudek, dudek kvar, cent unu, mil dek unu",
            "1234": "mil ducent tridek kvar",
            "88.888": "okdek ok mil okcent okdek ok",
            "999.999": "naŭcent naŭdek naŭ mil naŭcent naŭdek naŭ",
            "0,6": "nul komo ses",
            "1 % kaj 20 %": "unu procento kaj dudek procentoj",
            "-5": "minus kvin",
            "1-a, 10-a, 20-an, 21-a": "unua, deka, dudekan, dudek unua",
        },
    ),
    "es": Spoken(
        "RAE, Diccionario panhispánico de dudas: cardinales, ordinales, porcentaje; * ortografias.com for 7,34",
        {
            "16, 22, 26, 31, 100, 101": "dieciséis, veintidós, veintiséis, treinta y uno, cien, ciento uno",
            "21.000 y 31 000 000": "veintiún mil y treinta y un millones",
            "500, 700, 900": "quinientos, setecientos, novecientos",
            "1963": "mil novecientos sesenta y tres",
            "7,34; 12,5; 0,05": "siete coma treinta y cuatro; doce coma cinco; cero coma cero cinco",
            "20 %": "veinte por ciento",
            "-5": "menos cinco",
            "1.º, 1ª, 1.er, 3er, 7.º": "primero, primera, primer, tercer, séptimo",
            "11.º, 13.ª, 20.º, 21.ª": "undécimo, decimotercera, vigésimo, vigésima primera",
            "1° de mayo": "primero de mayo",
        },
    ),
    "es-MX": Spoken("RAE, Ortografía 2010: point in Mexico", {"12.5 y 1,000": "doce punto cinco y mil"}),
    "eu": Spoken(
        "* Euskaltzaindia, rules 7 and 9 (zenbakien idazkera)",
        {
            "0, 3, 5, 13, 15, 18": "zero, hiru, bost, hamahiru, hamabost, hemezortzi",
            "20, 21, 30, 40, 50, 70, 90": "hogei, hogeita bat, hogeita hamar, berrogei, berrogeita hamar, "
            "hirurogeita hamar, laurogeita hamar",
            "100, 101, 200, 600, 900": "ehun, ehun eta bat, berrehun, seiehun, bederatziehun",
            "1.000, 1.200, 1.201": "mila, mila eta berrehun, mila berrehun eta bat",
            "1984": "mila bederatziehun eta laurogeita lau",
            "12,5": "hamabi koma bost",
            "% 20 eta 20 %": "ehuneko hogei eta ehuneko hogei",
            "-5": "minus bost",
            "5. mendea, 21. mendea, 1. eguna": "bosgarren mendea, hogeita batgarren mendea, lehen eguna",
            "1.250.000": "1250000",
        },
    ),
    "fa": Spoken(
        "* dastur.info 6.1.3 (شماره‌ی اعشاری); CLDR for منفی",
        {
            "۵۷ ۴۰۹ ۲۷۱۹": "پنجاه و هفت چهارصد و نه دو هزار و هفتصد و نوزده",
            "۱٫۰۳ ۲٫۳ ۱۰٫۲۵ ۰٫۷۶": "یک ممیز صفر سه دو ممیز سه ده ممیز بیست و پنج صفر ممیز هفتاد و شش",
            "۲۰٪": "بیست درصد",
            "-5": "منفی پنج",
            "43,801": "چهل و سه هزار و هشتصد و یک",
        },
    ),
    "fr": Spoken(
        "Le bon usage: numéraux; * fra.1september.ru 11/2007 for 14,20 read with virgule; OQLF for ordinals",
        {
            "21, 71, 80, 81, 91": "vingt et un, soixante et onze, quatre-vingts, quatre-vingt-un, quatre-vingt-onze",
            "200, 236, 1 000, 80 000": "deux cents, deux cent trente-six, mille, quatre-vingt mille",
            "1963": "mille neuf cent soixante-trois",
            "12,5; 3,14; 0,007": "douze virgule cinq; trois virgule quatorze; zéro virgule zéro zéro sept",
            "20 %": "vingt pour cent",
            "-5": "moins cinq",
            "1er, 1re, 1ère, 2e, 2ème, 2nd": "premier, première, première, deuxième, deuxième, second",
            "9e, 21e, 80e, 1ᵉʳ, les 5es": "neuvième, vingt et unième, quatre-vingtième, premier, les cinquièmes",
            "1e, 3x, 5 km, 5km": "1e, 3x, cinq km, cinq km",
        },
    ),
    "fr-BE": Spoken("Le bon usage", {"71 et 95": "septante et un et nonante-cinq"}),
    "fr-CH": Spoken("Le bon usage", {"71, 80 et 95": "septante et un, huitante et nonante-cinq"}),
    "hi": Spoken(
        "CLDR to 100 and for ऋण; McGregor, Outline of Hindi Grammar: ordinals, years",
        {
            "0, 5, 11, 19, 29, 36, 49": "शून्य, पाँच, ग्यारह, उन्नीस, उनतीस, छत्तीस, उनचास",
            "55, 64, 79, 89, 99": "पचपन, चौंसठ, उनासी, नवासी, निन्यानबे",
            "101, 2,345": "एक सौ एक, दो हज़ार तीन सौ पैंतालीस",
            "1,00,000; 12,34,567": "एक लाख; बारह लाख चौंतीस हज़ार पाँच सौ सड़सठ",
            "१९६३, 1900, 2001": "उन्नीस सौ तिरेसठ, उन्नीस सौ, दो हज़ार एक",
            "12.5; 3.14; 0.05": "बारह दशमलव पाँच; तीन दशमलव एक चार; शून्य दशमलव शून्य पाँच",
            "20%": "बीस प्रतिशत",
            "-5": "ऋण पाँच",
            "1वीं 2वें 5वीं 6वाँ 21वीं": "पहली दूसरे पाँचवीं छठा इक्कीसवीं",
        },
    ),
    "it": Spoken(
        "* Treccani: numerali (prontuario), grammatica 258; Crusca 1077; EU style guide 10.3.1",
        {
            "11, 17, 21, 28, 43": "undici, diciassette, ventuno, ventotto, quarantatré",
            "123, 180, 808, 905": "centoventitré, centottanta, ottocentootto, novecentocinque",
            "23.000": "ventitremila",
            "654.321": "seicentocinquantaquattromilatrecentoventuno",
            "1963": "millenovecentosessantatré",
            "3,5; 10,25; 0,05": "tre virgola cinque; dieci virgola venticinque; zero virgola zero cinque",
            "20 %": "venti per cento",
            "-5": "meno cinque",
            "1º, 2ª, 3º, 11º, 23º": "primo, seconda, terzo, undicesimo, ventitreesimo",
            "1° maggio": "primo maggio",
        },
    ),
    "ja": Spoken(
        "CLDR",
        {
            "0、7、10、11、100、300、1,000": "零、七、十、十一、百、三百、千",
            "10,000と21,000": "一万と二万千",
            "1963年": "千九百六十三年",
            "12.5と3.14と0.05": "十二点五と三点一四と零点零五",
            "20%": "二十パーセント",
            "-5度": "マイナス五度",
            "第3回": "第三回",
        },
    ),
    "nl": Spoken(
        "Algemene Nederlandse Spraakkunst: telwoorden",
        {
            "8, 14, 22, 80, 100": "acht, veertien, tweeëntwintig, tachtig, honderd",
            "1.000, 21.500": "duizend, eenentwintigduizendvijfhonderd",
            "1963, 2024": "negentienhonderddrieënzestig, tweeduizendvierentwintig",
            "12,5 %": "twaalf komma vijf procent",
            "-5": "min vijf",
            "1e, 2de, 8ste, 20ste": "eerste, tweede, achtste, twintigste",
        },
    ),
    "pl": Spoken(
        "Słownik ortograficzny PWN: liczebniki",
        {
            "5, 11, 14, 19, 40, 90": "pięć, jedenaście, czternaście, dziewiętnaście, czterdzieści, dziewięćdziesiąt",
            "200, 500, 1 000, 2 000, 5 000": "dwieście, pięćset, tysiąc, dwa tysiące, pięć tysięcy",
            "12,5 i 3,14": "dwanaście przecinek pięć i trzy przecinek czternaście",
            "20 %": "dwadzieścia procent",
            "-5": "minus pięć",
            "w 1963 roku": "w 1963 roku",
            "5-ty": "5ty",
        },
    ),
    "pt": Spoken(
        "Cunha e Cintra, Nova gramática: numerais",
        {
            "14, 16, 17, 21, 100, 101": "catorze, dezasseis, dezassete, vinte e um, cem, cento e um",
            "200, 1.234": "duzentos, mil duzentos e trinta e quatro",
            "1963": "mil novecentos e sessenta e três",
            "12,5; 3,14; 0,05": "doze vírgula cinco; três vírgula catorze; zero vírgula zero cinco",
            "20 %": "vinte por cento",
            "-5": "menos cinco",
            "1º, 2.ª, 3º, 10ª, 21.º": "primeiro, segunda, terceiro, décima, vigésimo primeiro",
        },
    ),
    "pt-BR": Spoken("Cunha e Cintra", {"16, 17, 19": "dezesseis, dezessete, dezenove", "1.000.000.000": "um bilhão"}),
    "ru": Spoken(
        "Розенталь, Справочник: имена числительные; * penzainform.ru 2026-01-14 for 1,2 % without its и",
        {
            "0, 11, 19, 40, 90": "ноль, одиннадцать, девятнадцать, сорок, девяносто",
            "200, 500, 1 000, 2 000": "двести, пятьсот, одна тысяча, две тысячи",
            "1,2 и 12,5": "одна целая две десятых и двенадцать целых пять десятых",
            "0,25": "ноль целых двадцать пять сотых",
            "1 %, 22 %, 5 %, 11 %": "один процент, двадцать два процента, пять процентов, одиннадцать процентов",
            "12,5 %": "двенадцать целых пять десятых процента",
            "-5": "минус пять",
            "1963 год": "тысяча девятьсот шестьдесят третий год",
            "в 1963 году, к 2000 году": "в тысяча девятьсот шестьдесят третьем году, к двухтысячному году",
            "с 1941 года": "с тысяча девятьсот сорок первого года",
            "1963 г., 5-й": "1963 г., 5й",
        },
    ),
    "sw": Spoken(
        "* Swahili Made Easy, lesson 11, asilimia too; * scribd.com/document/326961826, unit 7; CLDR for nukta, kasoro",
        {
            "0, 12, 21, 30, 80, 90": "sifuri, kumi na mbili, ishirini na moja, thelathini, themanini, tisini",
            "101, 110, 249, 928": "mia moja na moja, mia moja na kumi, mia mbili arobaini na tisa, "
            "mia tisa ishirini na nane",
            "1,001; 1,010; 1,364": "elfu moja na moja; elfu moja na kumi; elfu moja mia tatu sitini na nne",
            "53,981": "elfu hamsini na tatu mia tisa themanini na moja",
            "1963": "elfu moja mia tisa sitini na tatu",
            "12.5": "kumi na mbili nukta tano",
            "20%": "asilimia ishirini",
            "-5": "kasoro tano",
        },
    ),
    "th": Spoken(
        "* ราชบัณฑิตยสถาน อ่านอย่างไรและเขียนอย่างไร หน้า ๖๗-๖๘; CLDR for ลบ",
        {
            "๑๑ 21 101 1,001": "สิบเอ็ด ยี่สิบเอ็ด หนึ่งร้อยเอ็ด หนึ่งพันเอ็ด",
            "2,501": "สองพันห้าร้อยเอ็ด",
            "1963": "หนึ่งพันเก้าร้อยหกสิบสาม",
            "๑.๒๓๕": "หนึ่งจุดสองสามห้า",
            "๕๑.๐๘": "ห้าสิบเอ็ดจุดศูนย์แปด",
            "20%": "ยี่สิบเปอร์เซ็นต์",
            "-5": "ลบห้า",
            "ราคา5บาท": "ราคาห้าบาท",
        },
    ),
    "tr": Spoken(
        "* TDK Yazım Kılavuzu: sayıların yazılışı",
        {
            "14, 35, 200, 365": "on dört, otuz beş, iki yüz, üç yüz altmış beş",
            "1.251": "bin iki yüz elli bir",
            "1963": "bin dokuz yüz altmış üç",
            "12,5; 3,14; 0,05": "on iki virgül beş; üç virgül on dört; sıfır virgül sıfır beş",
            "%25, 20 %": "yüzde yirmi beş, yüzde yirmi",
            "-5": "eksi beş",
            "2. kat, 3. sınıf": "ikinci kat, üçüncü sınıf",
            "5'inci, 6'ncı, 4'üncü": "beşinci, altıncı, dördüncü",
            "1963'te, 1939'a, 4'ü, 10'da": "bin dokuz yüz altmış üçte, bin dokuz yüz otuz dokuza, dördü, onda",
        },
    ),
    "vi": Spoken(
        "* Toán 5: số thập phân (lẻ, as in the South, for its linh); CLDR for âm",
        {
            "15, 21, 25, 105": "mười lăm, hai mươi mốt, hai mươi lăm, một trăm lẻ năm",
            "70.815": "bảy mươi nghìn tám trăm mười lăm",
            "5.723.600": "năm triệu bảy trăm hai mươi ba nghìn sáu trăm",
            "năm 1963, năm 2024": "năm một nghìn chín trăm sáu mươi ba, năm hai nghìn không trăm hai mươi tư",
            "5,8; 37,42; 2,35": "năm phẩy tám; ba mươi bảy phẩy bốn mươi hai; hai phẩy ba mươi lăm",
            "1942,54": "một nghìn chín trăm bốn mươi hai phẩy năm mươi tư",
            "0,032; 0,05": "không phẩy không trăm ba mươi hai; không phẩy không năm",
            "20 %": "hai mươi phần trăm",
            "-5": "âm năm",
            "thứ 4, thứ 1, tháng 4": "thứ tư, thứ nhất, tháng tư",
        },
    ),
    "zh": Spoken(
        "* 现代汉语词典: 二, 两; GB/T 15835-2011 for years and 百分之; CLDR for 负",
        {
            "0, 10, 12, 101, 110, 222": "零, 十, 十二, 一百零一, 一百一十, 二百二十二",
            "2,000; 20,000; 32,000": "两千; 两万; 三万二千",
            "1963年, 2024年": "一九六三年, 二零二四年",
            "12.5; 3.14; 0.2": "十二点五; 三点一四; 零点二",
            "20%": "百分之二十",
            "气温-5度": "气温负五度",
            "第2天, 2月, 2年级": "第二天, 二月, 二年级",
            "2个, 2本书, 2天, 12个": "两个, 两本书, 两天, 十二个",
        },
    ),
    "zh-TW": Spoken(
        "國語辭典: 二, 兩",
        {
            "22,222": "兩萬二千兩百二十二",
            "12.5%": "百分之十二點五",
            "2個, -5": "兩個, 負五",
        },
    ),
}
