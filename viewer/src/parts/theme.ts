export type Theme = 'dark' | 'light';

export const theme = (): Theme => (document.documentElement.dataset.theme === 'light' ? 'light' : 'dark');

export function setTheme(next: Theme): void {
  document.documentElement.dataset.theme = next;
  localStorage.setItem('tasvir.theme', next);
}

export function startTheme(): void {
  document.documentElement.dataset.theme = localStorage.getItem('tasvir.theme') === 'light' ? 'light' : 'dark';
}
