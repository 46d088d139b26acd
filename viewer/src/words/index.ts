import i18next from 'i18next';
import { useSyncExternalStore } from 'react';
import type { Language } from '../api/schema';
import uzLatn from './uz-Latn.json';

export const languages: Language[] = ['uz-Latn', 'uz-Cyrl', 'ru', 'en'];

/** What each language calls itself. */
export const languageNames: Record<Language, string> = {
  'uz-Latn': 'Oʻzbekcha',
  'uz-Cyrl': 'Ўзбекча',
  ru: 'Русский',
  en: 'English',
};

const remembered = 'tasvir.language';

/** The language of the last visit, else the browser's, else Uzbek. */
export function firstLanguage(): Language {
  const last = localStorage.getItem(remembered) as Language | null;
  if (last && languages.includes(last)) return last;
  for (const wish of navigator.languages ?? []) {
    if (/^uz-cyrl/i.test(wish)) return 'uz-Cyrl';
    if (/^uz/i.test(wish)) return 'uz-Latn';
    if (/^ru/i.test(wish)) return 'ru';
    if (/^en/i.test(wish)) return 'en';
  }
  return 'uz-Latn';
}

// Uzbek comes with the program; the others are fetched when they are wanted.
const load: Record<Language, () => Promise<{ default: object }>> = {
  'uz-Latn': () => Promise.resolve({ default: uzLatn }),
  'uz-Cyrl': () => import('./uz-Cyrl.json'),
  ru: () => import('./ru.json'),
  en: () => import('./en.json'),
};

export async function startWords(): Promise<void> {
  await i18next.init({
    lng: 'uz-Latn',
    fallbackLng: 'uz-Latn',
    resources: { 'uz-Latn': { translation: uzLatn } },
    interpolation: { escapeValue: false },
    returnNull: false,
  });
  await speak(firstLanguage());
}

/** Switches the interface to another language. */
export async function speak(language: Language): Promise<void> {
  if (!i18next.hasResourceBundle(language, 'translation')) {
    i18next.addResourceBundle(language, 'translation', (await load[language]()).default);
  }
  await i18next.changeLanguage(language);
  document.documentElement.lang = language;
  localStorage.setItem(remembered, language);
}

export const spoken = () => i18next.language as Language;

function subscribe(listener: () => void): () => void {
  i18next.on('languageChanged', listener);
  return () => i18next.off('languageChanged', listener);
}

export type Translate = (key: string, values?: Record<string, string | number>) => string;

const say: Translate = (key, values) => i18next.t(key, values ?? {});

/** The words of the current language; a component that uses them follows a switch. */
export function useWords(): { t: Translate; language: Language } {
  const language = useSyncExternalStore(subscribe, spoken);
  return { t: say, language };
}
