import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { mapValues, toCyrillic } from '../../build/cyrillic.mjs';
import en from './en.json';
import ru from './ru.json';
import uzCyrl from './uz-Cyrl.json';
import uzLatn from './uz-Latn.json';

type Node = { [key: string]: Node | string };

function flat(node: Node, path = ''): Map<string, string> {
  const out = new Map<string, string>();
  for (const [key, value] of Object.entries(node)) {
    if (typeof value === 'string') out.set(path + key, value);
    else for (const [k, v] of flat(value, `${path}${key}.`)) out.set(k, v);
  }
  return out;
}

const dictionaries = { 'uz-Latn': flat(uzLatn), 'uz-Cyrl': flat(uzCyrl), ru: flat(ru), en: flat(en) };
const placeholders = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map((m) => m[1]).sort();

describe('the four dictionaries', () => {
  for (const [language, words] of Object.entries(dictionaries)) {
    test(`${language} has the same keys and placeholders as uz-Latn, and nothing empty`, () => {
      expect([...words.keys()].sort()).toEqual([...dictionaries['uz-Latn'].keys()].sort());
      for (const [key, value] of words) {
        expect(value.trim(), key).not.toBe('');
        expect(placeholders(value), key).toEqual(placeholders(dictionaries['uz-Latn'].get(key) ?? ''));
        expect(value, `${key} shouts`).not.toContain('!');
      }
    });
  }

  test('Uzbek letters are the right ones: ʻ (U+02BB) and ʼ (U+02BC), no apostrophes', () => {
    for (const [key, value] of dictionaries['uz-Latn']) {
      expect(value.replace(/'CT'.*'HEAD'/, ''), key).not.toMatch(/['‘’`]/);
    }
  });

  test('uz-Cyrl is what the table makes of uz-Latn', () => {
    expect(uzCyrl).toEqual(mapValues(uzLatn, toCyrillic));
    for (const [key, value] of dictionaries['uz-Cyrl']) expect(value, key).not.toMatch(/[ʻʼ]/);
  });

  test('Russian is in Russian', () => {
    for (const [key, value] of dictionaries.ru) {
      if (['patient.id', 'admin.aeTitle', 'status.journalValue'].includes(key)) continue;
      expect(value, key).toMatch(/[а-яё]/i);
    }
  });
});

describe('toCyrillic', () => {
  test.each([
    ['Oʻzbekcha soʻzlar', 'Ўзбекча сўзлар'],
    ['yoʻq, Yoʻl', 'йўқ, Йўл'],
    ['Yozish, yurak, yangi, yechim', 'Ёзиш, юрак, янги, ечим'],
    ['eng, emas, bemor, aelita', 'энг, эмас, бемор, аэлита'],
    ['Shifokor maʼlumoti', 'Шифокор маълумоти'],
    ['Parol va parolni', 'Пароль ва паролни'],
    ['AE title {{name}} PDF', 'AE title {{name}} PDF'],
  ])('%s', (latin, cyrillic) => {
    expect(toCyrillic(latin)).toBe(cyrillic);
  });
});

describe('keys in the program', () => {
  const sources = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return sources(path);
      return /\.tsx?$/.test(entry.name) && !entry.name.includes('.test.') ? [readFileSync(path, 'utf8')] : [];
    });
  const program = sources(join(import.meta.dirname, '..')).join('\n');
  const keys = [...dictionaries['uz-Latn'].keys()];

  test('every key that is written out exists', () => {
    const used = [...program.matchAll(/\bt\(\s*'([\w.]+)'/g)].map((m) => m[1]);
    expect(used.length).toBeGreaterThan(100);
    expect(used.filter((key) => !keys.includes(key))).toEqual([]);
  });

  test('every key is used', () => {
    const patterns = [...program.matchAll(/`([a-z][\w.]*\.)\$\{[^`]*`/gi)].map((m) => m[1]);
    const unused = keys.filter((key) => !program.includes(`'${key}'`) && !patterns.some((start) => key.startsWith(start)));
    expect(unused).toEqual([]);
  });
});
