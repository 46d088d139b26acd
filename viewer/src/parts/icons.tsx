// One set, drawn on 16 × 16 with a 1.5 stroke.
const paths = {
  window: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Zm0 0v11M8 5h4.6M8 8h5.5M8 11h4.6',
  scroll: 'M8 2v12M5 5l3-3 3 3M5 11l3 3 3-3',
  zoom: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9ZM10.5 10.5 14 14M7 5v4M5 7h4',
  pan: 'M8 2v12M2 8h12M6 4l2-2 2 2M6 12l2 2 2-2M4 6 2 8l2 2M12 6l2 2-2 2',
  length: 'M2.5 13.5l11-11M1.5 11.5l3 3M11.5 1.5l3 3',
  angle: 'M13.5 13H3L11 3M7.5 13a5 5 0 0 0-1.3-3.6',
  roi: 'M8 4c3.6 0 6 1.8 6 4s-2.4 4-6 4-6-1.8-6-4 2.4-4 6-4Z',
  invert: 'M8 2.5a5.5 5.5 0 1 0 0 11V2.5Z M8 2.5a5.5 5.5 0 0 1 0 11',
  rotate: 'M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3',
  fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  reset: 'M3 8a5 5 0 1 0 1.5-3.6M3 2v3h3',
  play: 'M4.5 2.5v11l9-5.5-9-5.5Z',
  pause: 'M5 3v10M11 3v10',
  link: 'M6.5 9.5l3-3M7 4.5 8.5 3A3 3 0 0 1 13 7.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.5L4.5 7',
  unlink: 'M7 4.5 8.5 3A3 3 0 0 1 13 7.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.5L4.5 7M2 2l12 12',
  sideBySide: 'M2 3h12v10H2zM8 3v10',
  trash: 'M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.6 9h5.8l.6-9',
  star: 'M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.2L8 11.4l-3.7 2.1.8-4.2L2 6.4l4.2-.5L8 2Z',
  back: 'M10 3 5 8l5 5',
  next: 'M6 3l5 5-5 5',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9ZM10.5 10.5 14 14',
  warn: 'M8 2.5 14 13.5H2L8 2.5ZM8 6.5v3.2M8 11.5v.3',
  clock: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 5v3l2 1.5',
  check: 'M3 8.5 6.5 12 13 4.5',
  pen: 'M3 13l.7-2.8L11 3l2 2-7.2 7.3L3 13Z',
  arriving: 'M8 2v8M5 7l3 3 3-3M3 13.5h10',
  person: 'M8 8a2.7 2.7 0 1 0 0-5.5A2.7 2.7 0 0 0 8 8ZM3 13.5c.4-2.6 2.3-4 5-4s4.6 1.4 5 4',
  sun: 'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6ZM8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  file: 'M4 2h5.5L12 4.5V14H4V2ZM9.5 2v2.5H12',
  send: 'M2 8l12-5-4.5 11-2-4.5L2 8Z',
  question: 'M6 6a2 2 0 1 1 2.6 1.9c-.4.2-.6.5-.6 1v.6M8 11.8v.2M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: 16 | 20 }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={paths[name]} fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
