export function toCyrillic(text: string): string;
export function mapValues<T>(node: T, change: (text: string) => string): T;
