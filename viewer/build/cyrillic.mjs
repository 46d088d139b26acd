// Makes src/words/uz-Cyrl.json from src/words/uz-Latn.json by table. Words
// that the table gets wrong (loan words with ь or ц, things that stay Latin)
// are listed here; the result is read by eye. `node build/cyrillic.mjs`.
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

// Longest first. The letters oʻ and gʻ are one letter each, so yoʻ is йў and not ё with a mark.
const table = [
  ['yoʻ', 'йў'],
  ['oʻ', 'ў'],
  ['gʻ', 'ғ'],
  ['sh', 'ш'],
  ['ch', 'ч'],
  ['yo', 'ё'],
  ['yu', 'ю'],
  ['ya', 'я'],
  ['ye', 'е'],
  ['ʼ', 'ъ'],
  ['a', 'а'],
  ['b', 'б'],
  ['c', 'с'],
  ['d', 'д'],
  ['e', 'е'],
  ['f', 'ф'],
  ['g', 'г'],
  ['h', 'ҳ'],
  ['i', 'и'],
  ['j', 'ж'],
  ['k', 'к'],
  ['l', 'л'],
  ['m', 'м'],
  ['n', 'н'],
  ['o', 'о'],
  ['p', 'п'],
  ['q', 'қ'],
  ['r', 'р'],
  ['s', 'с'],
  ['t', 'т'],
  ['u', 'у'],
  ['v', 'в'],
  ['x', 'х'],
  ['y', 'й'],
  ['z', 'з'],
];

// By the beginning of the word, lower case.
const loans = [
  ['parol', 'пароль'],
  ['rol', 'роль'],
  ['insult', 'инсульт'],
  ['kompyuter', 'компьютер'],
  ['filtr', 'фильтр'],
  ['obyekt', 'объект'],
  ['stansiya', 'станция'],
];

const latin =
  /\{\{\w+\}\}|\border\.\w+|'CT' in study\.modalities && study\.body_part == 'HEAD'|\b(?:AE title|AE|C-ECHO|C-MOVE|SHA-256|CN=CT1|CN|ISO_IR 6|IP|TLS|VPN|MPPS|UPS|IAN|OHIF|Weasis|PDF|UID|ID|CT|MR|US|CEL|DICOMweb|DICOM|FHIR|Shift|N)\b(?![ʻʼ])/g;

const isVowel = (letter) => 'aeiouаеиоуўэёюя'.includes(letter.toLowerCase());

function word(text) {
  const lower = text.toLowerCase();
  for (const [from, to] of loans) {
    if (lower.startsWith(from)) {
      const head = /^\p{Lu}/u.test(text) ? to[0].toUpperCase() + to.slice(1) : to;
      // A soft sign at the end goes when an ending follows: пароль, паролни.
      const rest = text.slice(from.length);
      return rest ? head.replace(/ь$/, '') + word(rest) : head;
    }
  }
  let out = '';
  for (let i = 0; i < text.length; ) {
    const rest = lower.slice(i);
    const [from, to] = table.find(([f]) => rest.startsWith(f)) ?? [text[i], text[i]];
    let letter = to;
    if (from === 'e' && (i === 0 || isVowel(text[i - 1]))) letter = 'э';
    const source = text.slice(i, i + from.length);
    out += source[0] !== source[0].toLowerCase() ? letter[0].toUpperCase() + letter.slice(1) : letter;
    i += from.length;
  }
  return out;
}

/** Uzbek in Latin script to Cyrillic, leaving placeholders and names of things alone. */
export function toCyrillic(text) {
  let out = '';
  let last = 0;
  const convert = (part) =>
    part
      .replace(/[A-Za-zʻʼ]+/g, word)
      .replace(/“/g, '«')
      .replace(/”/g, '»');
  for (const match of text.matchAll(latin)) {
    out += convert(text.slice(last, match.index)) + match[0];
    last = match.index + match[0].length;
  }
  return out + convert(text.slice(last));
}

export const mapValues = (node, change) => (typeof node === 'string' ? change(node) : Object.fromEntries(Object.entries(node).map(([key, value]) => [key, mapValues(value, change)])));

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const words = new URL('../src/words/', import.meta.url);
  const uz = JSON.parse(readFileSync(new URL('uz-Latn.json', words), 'utf8'));
  writeFileSync(new URL('uz-Cyrl.json', words), `${JSON.stringify(mapValues(uz, toCyrillic), null, 2)}\n`);
}
